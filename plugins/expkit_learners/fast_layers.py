"""Faster ways for Paddle's CPU kernels to compute the very same numbers, for training only.

Two kernels of Paddle 3.3 on the CPU are slow without need: the broadcast that adds a convolution's bias, and the
gradient of max-pooling without a mask. The results are bit-equal (tests/unit/test_fast_layers.py). An exported graph
must not carry these changes: it would be 2 to 4 times slower under oneDNN.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - Paddle's own convention


def speed_up(model: nn.Layer) -> int:
    """Change the layers of `model` that are known to be slow, in place, and return how many were changed.

    Only exact `nn.Conv2D` and `nn.MaxPool2D` layers with plain settings are changed; subclasses are left alone.
    """
    changed = 0
    for layer in model.sublayers(include_self=True):
        if "forward" in vars(layer):
            continue  # somebody else replaced it already
        if type(layer) is nn.Conv2D and _plain_convolution(layer):
            layer.forward = MethodType(_convolution, layer)
        elif type(layer) is nn.MaxPool2D and _plain_pooling(layer):
            layer.forward = MethodType(_max_pool, layer)
        else:
            continue
        changed += 1
    return changed


def _plain_convolution(layer: Any) -> bool:
    return layer.bias is not None and layer._padding_mode == "zeros" and layer._data_format == "NCHW"


def _plain_pooling(layer: Any) -> bool:
    return not layer.return_mask and layer.data_format == "NCHW"


def _convolution(layer: Any, x: Any) -> Any:
    out = F.conv2d(
        x,
        layer.weight,
        bias=None,
        stride=layer._stride,
        padding=layer._updated_padding,
        dilation=layer._dilation,
        groups=layer._groups,
        data_format="NCHW",
    )
    return out + layer.bias.reshape([-1, 1, 1])


def _max_pool(layer: Any, x: Any) -> Any:
    return F.max_pool2d(
        x,
        kernel_size=layer.ksize,
        stride=layer.stride,
        padding=layer.padding,
        return_mask=True,
        ceil_mode=layer.ceil_mode,
        data_format="NCHW",
    )[0]
