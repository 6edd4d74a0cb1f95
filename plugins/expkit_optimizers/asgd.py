"""Averaged stochastic gradients."""

from collections.abc import Iterable
from typing import Literal

import paddle

from . import _checks, _common


def asgd(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.01,
    batches: int = 10,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.ASGD:
    """Step along the mean of the last gradients, one for each batch (SAG, Schmidt et al. 2017, alg. 1).

    It is what Paddle calls ASGD. The paper's method needs the same batches in the same order every epoch:
    `dataset.shuffle=false` and as many `batches` as an epoch has. Otherwise it is a mean over the last gradients.

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        batches: gradients that are remembered and averaged, each as large as the model; 1 is plain SGD.
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: an option is out of range, or would do nothing because every parameter has a regularizer; there
            are no parameters.
    """
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _checks.at_least_one("batches", batches)
    return paddle.optimizer.ASGD(**shared, batch_num=batches)
