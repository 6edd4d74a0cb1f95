"""Rprop."""

from collections.abc import Iterable
from typing import Literal

import paddle
from paddle.optimizer.lr import LRScheduler

from expkit.api import ConfigError

from . import _checks, _common


def rprop(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.001,
    shrink: float = 0.5,
    grow: float = 1.2,
    min_rate: float = 1e-5,
    max_rate: float = 50.0,
    weight_decay: float = 0.0,
    decay: Literal["l1", "l2"] = "l2",
    clip_norm: float | None = None,
) -> paddle.optimizer.Rprop:
    """Rprop: each weight has a rate of its own, and only the gradient's sign counts (Riedmiller and Braun 1993).

    A rate grows while the sign stays; it shrinks, and the weight waits a step, when the sign turns. Made for the
    gradient of all samples: set `dataset.batch_size` to the size of the training split.

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: every weight's first rate; no schedule can change the rates.
        shrink: what a rate is multiplied by when the gradient's sign turns, above 0 and below 1.
        grow: what a rate is multiplied by while the sign stays, above 1.
        min_rate: the smallest rate.
        max_rate: the largest rate.
        weight_decay: decay of every parameter, biases too, that has no regularizer of its own.
        decay: l2 adds weight_decay * w to the gradient, l1 adds weight_decay * sign(w).
        clip_norm: scale gradients down when their common L2 norm exceeds this, before `decay`; null leaves them alone.

    Raises:
        ConfigError: a schedule is chosen; an option is out of range, or would do nothing because every parameter has
            a regularizer; there are no parameters.
    """
    if isinstance(learning_rate, LRScheduler):
        raise ConfigError(
            "optimizer=rprop adapts a rate for each weight by itself, and a schedule would change nothing. "
            "Choose schedule=constant."
        )
    shared = _common.decaying(parameters, learning_rate, clip_norm, weight_decay, decay)
    _check_rates(learning_rate, shrink, grow, min_rate, max_rate)
    weight_decay_of_all = shared.pop("weight_decay")
    optimizer = paddle.optimizer.Rprop(**shared, learning_rate_range=(min_rate, max_rate), etas=(shrink, grow))
    optimizer.regularization = weight_decay_of_all  # its constructor is the only one that does not ask
    return optimizer


def _check_rates(learning_rate: float, shrink: float, grow: float, min_rate: float, max_rate: float) -> None:
    _checks.above_zero("min_rate", min_rate)
    _checks.above_zero("max_rate", max_rate)
    if not min_rate <= learning_rate <= max_rate:
        raise ConfigError(
            f"optimizer.learning_rate={learning_rate}: must be from optimizer.min_rate={min_rate} to "
            f"optimizer.max_rate={max_rate}."
        )
    if not 0.0 < shrink < 1.0:
        raise ConfigError(f"optimizer.shrink={shrink}: must be above 0 and below 1.")
    _checks.above_zero("grow", grow)
    if grow <= 1.0:
        raise ConfigError(f"optimizer.grow={grow}: must be above 1.")
