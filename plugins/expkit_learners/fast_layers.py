"""Faster ways for Paddle on the CPU to compute the very same numbers, for training only.

Three kernels of Paddle 3.3 on the CPU are slow without need: the broadcast that adds a convolution's bias, the
convolution of an image with a margin of zeros other than 1 wide, and the gradient of max-pooling without a mask. The
results are bit-equal (tests/unit/test_fast_layers.py); only where branches of a network meet, their gradients may be
added in another order. An exported graph must not carry these changes: it would be 2 to 4 times slower under oneDNN.

A linear layer asks Paddle's flags at each call whether it is to be an older kind of operator, which on the CPU it is in
any case; in a small step that takes as long as the product.
"""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import _C_ops, nn
from paddle.nn import functional as F  # noqa: N812 - Paddle's own convention

_ROW = 8
"""Shorter rows take as long to copy as pixel by pixel."""
_TYPES = (paddle.float32, paddle.float64)


def speed_up(model: nn.Layer) -> int:
    """Change the layers of `model` that are known to be slow, in place, and return how many were changed.

    Only exact `nn.Conv2D`, `nn.MaxPool2D` and `nn.Linear` layers with plain settings are changed; subclasses are left
    alone.
    """
    changed = 0
    for layer in model.sublayers(include_self=True):
        if "forward" in vars(layer):
            continue  # somebody else replaced it already
        if type(layer) is nn.Conv2D and _plain_convolution(layer):
            layer.forward = _Convolution(layer).forward
        elif type(layer) is nn.MaxPool2D and _plain_pooling(layer):
            layer.forward = _MaxPool(layer).forward
        elif type(layer) is nn.Linear:
            layer.forward = _Linear(layer).forward
        else:
            continue
        changed += 1
    return changed


def _plain_convolution(layer: Any) -> bool:
    if isinstance(layer._padding, str):  # "SAME" is worked out by the stock layer's kernel alone
        return False
    plain = layer._padding_mode == "zeros" and layer._data_format == "NCHW"
    return plain and (layer.bias is not None or bool(_margin(layer)))


def _margin(layer: Any) -> list[int]:
    """Return how many zeros at each side, [top, bottom, left, right], are better put around the images beforehand.

    To lay out the pixels under each place of the window, Paddle copies whole rows where there is no margin or one of 1,
    and else asks for every single pixel whether it is in the image: a third of the textbook CNN's step.
    """
    sides = _pair(layer._updated_padding)
    if len(sides) == 2:
        sides = [sides[0], sides[0], sides[1], sides[1]]
    steady = _pair(layer._stride) == _pair(layer._dilation) == [1, 1]
    return [int(side) for side in sides] if steady and len(sides) == 4 and sides not in ([0] * 4, [1] * 4) else []


def _plain_pooling(layer: Any) -> bool:
    # The kernel with a mask ignores padding="SAME" and takes one number an axis, not one a side. A window that lies
    # wholly outside the image, as ceil_mode and wide padding can make one, has no maximum; see `_max_pool`.
    padding, kernel = _pair(layer.padding), _pair(layer.ksize)
    inside = len(padding) == 2 and all(isinstance(p, int) and p < k for p, k in zip(padding, kernel, strict=True))
    return inside and not layer.ceil_mode and not layer.return_mask and layer.data_format == "NCHW"


def _pair(size: Any) -> list[Any]:
    return list(size) if isinstance(size, (list, tuple)) else [size] * 2


class _Instead:
    """Computes in a layer's place; an object of a class of its own, so that its method can be pickled and traced."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer


class _Linear(_Instead):
    def forward(self, input: Any) -> Any:
        layer = self.layer
        if paddle.in_dynamic_mode():
            own = layer._parameters  # `layer.weight` is searched for in Python; what a hook works out is not among them
            weight, bias = own.get("weight"), own.get("bias")
            if weight is None or bias is None:
                weight, bias = layer.weight, layer.bias
            return _C_ops.linear(input, weight, bias)
        return nn.Linear.forward(layer, input)


class _Convolution(_Instead):
    def forward(self, x: Any) -> Any:
        layer, padding = self.layer, self.layer._updated_padding
        if paddle.in_dynamic_mode() and _worth_a_margin(layer, x):
            margin = _margin(layer)  # asked at each call: a model may change what its layers are set to
            if margin:
                x, padding = _C_ops.pad(x, [0, 0, 0, 0, *margin], 0.0), 0
        out = F.conv2d(
            x,
            layer.weight,
            bias=None,
            stride=layer._stride,
            padding=padding,
            dilation=layer._dilation,
            groups=layer._groups,
            data_format="NCHW",
        )
        return out if layer.bias is None else out + layer.bias.reshape([-1, 1, 1])


def _worth_a_margin(layer: Any, x: Any) -> bool:
    """Whether the layer can take x (if not, its own refusal says it best), and rows are long enough to be copied."""
    shape = x.shape
    fits = len(shape) == 4 and shape[0] > 0 and shape[1] == layer._in_channels and x.dtype in _TYPES
    return fits and shape[3] >= _ROW


class _MaxPool(_Instead):
    def forward(self, x: Any) -> Any:
        layer = self.layer
        # The kernel with a mask overlooks NaN; for a window without a maximum it notes the index -1, and its gradient
        # then writes outside its memory. The sum is finite only if all of x is, and costs half a percent of a step.
        plain = paddle.in_dynamic_mode() and _plain_pooling(layer)
        if not plain or not math.isfinite(float(x.detach().sum())):
            return nn.MaxPool2D.forward(layer, x)
        return F.max_pool2d(
            x,
            kernel_size=layer.ksize,
            stride=layer.stride,
            padding=layer.padding,
            return_mask=True,
            ceil_mode=layer.ceil_mode,
            data_format="NCHW",
        )[0]
