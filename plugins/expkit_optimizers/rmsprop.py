"""RMSProp."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def rmsprop(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.001,
    rho: float = 0.95,
    epsilon: float = 1e-6,
    momentum: float = 0.0,
    centered: bool = False,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
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
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _checks.share("rho", rho)
    _checks.above_zero("epsilon", epsilon)
    _checks.share("momentum", momentum)
    return paddle.optimizer.RMSProp(
        **shared,
        rho=rho,
        epsilon=epsilon,
        momentum=momentum,
        centered=centered,
    )
