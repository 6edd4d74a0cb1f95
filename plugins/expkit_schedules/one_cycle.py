"""A rate that rises and falls once."""

import math
from itertools import pairwise
from typing import Literal

from paddle.optimizer.lr import LambdaDecay

from expkit.api import ConfigError

from . import _checks, _steps


def one_cycle(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    rise: float = 0.3,
    start: float = 0.04,
    end: float = 4e-6,
    shape: Literal["cosine", "linear"] = "cosine",
    three_phase: bool = False,
) -> LambdaDecay:
    """Raise the rate to the optimizer's and lower it far below its start, once in the training (Smith 2018, sec. 4.2).

    Paddle's own OneCycleLR refuses to be stepped beyond the training. The momentum stays as it is.

    Args:
        learning_rate: supplied; the optimizer's, the highest rate.
        steps_per_epoch: supplied.
        epochs: supplied; the cycle ends with them.
        rise: share of the training in which the rate rises.
        start: what the rate rises from, as a fraction of the highest rate.
        end: what the rate falls to, as a fraction of the highest rate.
        shape: rise and fall along half a cosine, or on a straight line.
        three_phase: fall back to the start in as many steps as it rose, as Smith did, and only then to the end.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.share("start", start)
    _checks.share("end", end)
    longest = 0.5 if three_phase else 1.0
    if not 0.0 < rise < longest:
        raise ConfigError(f"schedule.rise={rise}: must be above 0 and below {longest:g}, a share of the training.")
    if shape not in ("cosine", "linear"):
        raise ConfigError(f"schedule.shape={shape!r}: must be cosine or linear.")
    total = epochs * steps_per_epoch
    top = max(1, round(rise * total))
    middle = [(2 * top, start)] if three_phase else []
    knots = [(0, start), (top, 1.0), *middle, (total - 1, end)]

    def factor(step: int) -> float:
        for (begin, first), (until, last) in pairwise(knots):
            if step < until:
                progress = (step - begin) / (until - begin)
                way = progress if shape == "linear" else 0.5 * (1.0 - math.cos(math.pi * progress))
                return first + (last - first) * way
        return end

    return _steps.by_step(learning_rate, factor)
