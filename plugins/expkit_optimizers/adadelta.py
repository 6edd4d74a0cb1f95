"""Adadelta."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def adadelta(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 1.0,
    rho: float = 0.95,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.Adadelta:
    """Adadelta: steps are as large as past steps, measured against past gradients (Zeiler 2012, alg. 1).

    The algorithm finds the size of its steps itself; the rate scales them, and 1 is the paper's.

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: factor on the step; a chosen schedule starts from it and is passed in its place.
        rho: share of both running means, of squared gradients and squared steps, that is kept; from 0 to below 1.
        epsilon: added to both means; its root is the size of the first steps.
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
    return paddle.optimizer.Adadelta(**shared, rho=rho, epsilon=epsilon)
