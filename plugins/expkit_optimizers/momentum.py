"""Gradient descent with momentum."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def momentum(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.Momentum:
    """Gradient descent with momentum: v <- momentum * v + gradient, w <- w - rate * v (Polyak 1964).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        momentum: share of the last step's velocity that is kept, from 0 to below 1.
        nesterov: look ahead along the velocity (Sutskever et al. 2013).
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _checks.share("momentum", momentum)
    return paddle.optimizer.Momentum(
        **shared,
        momentum=momentum,
        use_nesterov=nesterov,
    )
