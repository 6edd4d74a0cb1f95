"""A rate that falls by a power."""

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def polynomial(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    end: float = 0.1,
    power: float = 1.0,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Lower the rate over the whole training: rate * (end + (1 - end) * (1 - progress) ** power).

    Args:
        learning_rate: supplied; the optimizer's, the highest rate.
        steps_per_epoch: supplied.
        epochs: supplied; the rate falls until their end.
        end: what the rate falls to, as a fraction of the highest rate.
        power: 1 falls on a straight line, 2 falls fast first.
        warmup: epochs in which the rate first rises on a straight line; 0.5 is half an epoch.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.share("end", end)
    _checks.above_zero("power", power)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    falling = max(1, epochs * steps_per_epoch - rising)

    def factor(step: int) -> float:
        progress = min(1.0, max(0, step - rising) / falling)
        return end + (1.0 - end) * (1.0 - progress) ** power

    return _steps.by_step(learning_rate, factor, rising=rising)
