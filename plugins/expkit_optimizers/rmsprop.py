"""RMSProp."""

from collections.abc import Iterable

import paddle

from . import _checks


def rmsprop(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.001,
    rho: float = 0.95,
    epsilon: float = 1e-6,
    momentum: float = 0.0,
    centered: bool = False,
    clip_norm: float | None = None,
) -> paddle.optimizer.RMSProp:
    """RMSProp: steps are divided by a running mean of gradient sizes (Tieleman and Hinton 2012, lecture 6.5).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        rho: share of the running mean that is kept, from 0 to below 1.
        epsilon: added to the divisor, so that it is never 0.
        momentum: share of the last step's velocity that is kept, from 0 to below 1.
        centered: divide by the running variance instead (Graves 2013).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or there are no parameters.
    """
    found = _checks.trainable(parameters)
    _checks.rate(learning_rate)
    _checks.share("rho", rho)
    _checks.above_zero("epsilon", epsilon)
    _checks.share("momentum", momentum)
    return paddle.optimizer.RMSProp(
        learning_rate=learning_rate,
        parameters=found,
        grad_clip=_checks.clip(clip_norm),
        rho=rho,
        epsilon=epsilon,
        momentum=momentum,
        centered=centered,
    )
