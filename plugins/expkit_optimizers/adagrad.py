"""Adagrad."""

from collections.abc import Iterable

import paddle

from . import _checks


def adagrad(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    epsilon: float = 1e-6,
    initial: float = 0.0,
    clip_norm: float | None = None,
) -> paddle.optimizer.Adagrad:
    """Adagrad: steps shrink with the sum of past squared gradients (Duchi et al. 2011).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        epsilon: added to the divisor, so that it is never 0.
        initial: what the sum of squared gradients starts from.
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or there are no parameters.
    """
    found = _checks.trainable(parameters)
    _checks.rate(learning_rate)
    _checks.above_zero("epsilon", epsilon)
    _checks.not_negative("initial", initial)
    return paddle.optimizer.Adagrad(
        learning_rate=learning_rate,
        parameters=found,
        grad_clip=_checks.clip(clip_norm),
        epsilon=epsilon,
        initial_accumulator_value=initial,
    )
