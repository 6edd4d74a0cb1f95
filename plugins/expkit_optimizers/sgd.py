"""Stochastic gradient descent."""

from collections.abc import Iterable

import paddle

from . import _checks


def sgd(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    clip_norm: float | None = None,
) -> paddle.optimizer.SGD:
    """Stochastic gradient descent: w <- w - rate * gradient (Robbins and Monro 1951).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or there are no parameters.
    """
    found = _checks.trainable(parameters)
    _checks.rate(learning_rate)
    return paddle.optimizer.SGD(
        learning_rate=learning_rate,
        parameters=found,
        grad_clip=_checks.clip(clip_norm),
    )
