"""A rate that falls by a power."""

import math

from paddle.optimizer.lr import PolynomialDecay

from expkit.api import ConfigError

from . import _checks


def polynomial(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    end: float = 0.1,
    power: float = 1.0,
) -> PolynomialDecay:
    """Lower the rate over the whole training: rate * (end + (1 - end) * (1 - progress) ** power).

    Args:
        learning_rate: supplied; the optimizer's, used by the first step.
        steps_per_epoch: supplied.
        epochs: supplied; the rate falls until their end.
        end: what the rate falls to, as a fraction of the first rate.
        power: 1 falls on a straight line, 2 falls fast first.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.rate(learning_rate)
    _checks.share("end", end)
    if not (math.isfinite(power) and power > 0):
        raise ConfigError(f"schedule.power={power}: must be a number above 0.")
    return PolynomialDecay(learning_rate, epochs * steps_per_epoch, end_lr=learning_rate * end, power=power)
