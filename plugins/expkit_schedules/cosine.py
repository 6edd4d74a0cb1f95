"""A rate that follows half a cosine."""

import math

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def cosine(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    end: float = 0.0,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Lower the rate along half a cosine over the whole training (Loshchilov and Hutter 2017, eq. 5).

    The rate is computed from the step's number alone: Paddle's own CosineAnnealingDecay multiplies its way
    there, adds up rounding errors, and rises again after the last step.

    Args:
        learning_rate: supplied; the optimizer's, the highest rate.
        steps_per_epoch: supplied.
        epochs: supplied; the rate falls until their end.
        end: what the rate falls to, as a fraction of the highest rate.
        warmup: epochs in which the rate first rises on a straight line; 0.5 is half an epoch.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.share("end", end)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    falling = max(1, epochs * steps_per_epoch - rising)

    def factor(step: int) -> float:
        progress = min(1.0, max(0, step - rising) / falling)
        return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return _steps.by_step(learning_rate, factor, rising=rising)
