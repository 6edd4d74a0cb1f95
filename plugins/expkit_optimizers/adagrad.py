"""Adagrad."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def adagrad(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    epsilon: float = 1e-6,
    initial: float = 0.0,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.Adagrad:
    """Adagrad: steps shrink with the sum of past squared gradients (Duchi et al. 2011).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        epsilon: added to the divisor, so that it is never 0.
        initial: what the sum of squared gradients starts from.
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _checks.above_zero("epsilon", epsilon)
    _checks.not_negative("initial", initial)
    return paddle.optimizer.Adagrad(
        **shared,
        epsilon=epsilon,
        initial_accumulator_value=initial,
    )
