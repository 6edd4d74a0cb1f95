"""Counts the arithmetic of one layer, by formulas that anyone can check by hand.

A multiplication, an addition, a comparison and an elementary function (exp, tanh) count one each, so a product of two
numbers that is added up counts two. Tools that report half as much count multiply-adds.

Shapes: as in `expkit.api`; N is part of the shapes here and divided out at the end.
"""

from __future__ import annotations

from math import prod
from typing import Any

_PER_OUTPUT = {
    # No arithmetic at all.
    **dict.fromkeys(("Flatten", "Unflatten", "Identity", "Dropout", "Dropout2D", "Dropout3D", "AlphaDropout"), 0),
    **dict.fromkeys(("Embedding", "Pad1D", "Pad2D", "Pad3D", "ZeroPad2D", "ChannelShuffle", "PixelShuffle"), 0),
    # One comparison, or one elementary function.
    **dict.fromkeys(("ReLU", "ReLU6", "Hardtanh", "ThresholdedReLU", "Tanh", "Maxout"), 1),
    # A comparison and a product.
    **dict.fromkeys(("LeakyReLU", "PReLU", "RReLU"), 2),
    # exp, sum and quotient; the logarithm takes their place in turn.
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid", "Softplus", "ELU", "CELU", "SELU"), 3),
    **dict.fromkeys(("Silu", "Swish", "Hardswish", "Hardsigmoid", "GELU", "Mish", "Softsign"), 4),
    # With fixed statistics a scale and a shift; else mean, centre, square, sum, quotient, scale and shift.
    **dict.fromkeys(("BatchNorm", "BatchNorm1D", "BatchNorm2D", "BatchNorm3D", "SyncBatchNorm"), 2),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "InstanceNorm1D", "InstanceNorm2D", "InstanceNorm3D"), 7),
}


def operations(layer: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int | None:
    """Return how many operations a layer spends on one sample; None for a layer that no formula is known for.

    Args:
        layer: a `paddle.nn.Layer`; of a class of Paddle's, or of one derived from it.
        inputs: shape of what it was given, N first.
        outputs: shape of what it answered, N first.
    """
    samples = max(outputs[0], 1) if outputs else 1
    for kind in (cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith("paddle.nn")):
        total = _total(kind, layer, inputs, outputs)
        if total is not None:
            return total // samples
    return None


def _total(kind: str, layer: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int | None:
    size = prod(outputs)
    if kind in _PER_OUTPUT:
        return _PER_OUTPUT[kind] * size
    if kind == "Linear":
        return size * _dot(layer.weight.shape[0], layer.bias is not None)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):  # weight [C out, C in / groups, *kernel]
        return size * _dot(prod(layer.weight.shape[1:]), layer.bias is not None)
    if kind in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"):  # weight [C in, C out / groups, *kernel]
        return prod(inputs) * 2 * int(prod(layer.weight.shape[1:]))
    if kind.startswith("Adaptive"):  # every input belongs to one window, where the sizes divide
        return prod(inputs)
    if kind.startswith(("MaxPool", "AvgPool")):
        window = _window(layer, len(outputs) - 2)
        return size * (window - 1 if kind.startswith("Max") else window)
    return None


def _dot(length: int, has_bias: bool) -> int:
    """Products, their sum, and the bias on top of it."""
    return 2 * length - (not has_bias)


def _window(layer: Any, axes: int) -> int:
    size = getattr(layer, "ksize", None) or layer.kernel_size
    return prod(size) if isinstance(size, (list, tuple)) else int(size) ** axes
