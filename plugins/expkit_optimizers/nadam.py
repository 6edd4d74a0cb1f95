"""NAdam."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def nadam(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.002,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.NAdam:
    """NAdam: Adam that looks ahead along its momentum, as Nesterov's does (Dozat 2016, alg. 2).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        beta1: share of the gradients' running mean that is kept, from 0 to below 1.
        beta2: share of the squares' running mean that is kept, from 0 to below 1.
        epsilon: added to the divisor, so that it is never 0.
        momentum_decay: how fast beta1 rises to its value: that of step t is beta1 * (1 - 0.96 ** (t * this) / 2).
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _checks.share("beta1", beta1)
    _checks.share("beta2", beta2)
    _checks.above_zero("epsilon", epsilon)
    _checks.not_negative("momentum_decay", momentum_decay)
    return paddle.optimizer.NAdam(
        **shared,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        momentum_decay=momentum_decay,
    )
