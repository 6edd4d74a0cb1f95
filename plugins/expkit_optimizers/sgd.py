"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _common


def sgd(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.SGD:
    """Stochastic gradient descent: w <- w - rate * gradient (Robbins and Monro 1951).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    return paddle.optimizer.SGD(**_common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay))
