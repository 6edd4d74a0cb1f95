"""Gradient descent with momentum."""

from collections.abc import Iterable

import paddle

from . import _checks


def momentum(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    nesterov: bool = False,
    clip_norm: float | None = None,
) -> paddle.optimizer.Momentum:
    """Gradient descent with momentum: v <- momentum * v + gradient, w <- w - rate * v (Polyak 1964).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        momentum: share of the last step's velocity that is kept, from 0 to below 1.
        nesterov: look ahead along the velocity (Sutskever et al. 2013).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or there are no parameters.
    """
    found = _checks.trainable(parameters)
    _checks.rate(learning_rate)
    _checks.share("momentum", momentum)
    return paddle.optimizer.Momentum(
        learning_rate=learning_rate,
        parameters=found,
        grad_clip=_checks.clip(clip_norm),
        momentum=momentum,
        use_nesterov=nesterov,
    )
