"""A rate that falls with the inverse of time."""

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def inverse_time(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    speed: float = 1.0,
    smooth: bool = False,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Divide the rate by the time that has passed: rate / (1 + speed * epochs) (Robbins and Monro 1951).

    Args:
        learning_rate: supplied; the optimizer's, used by the first step.
        steps_per_epoch: supplied.
        epochs: supplied.
        speed: 1 halves the rate in the first epoch, 0.1 in the first ten.
        smooth: fall a little with each step; without, at the end of each epoch.
        warmup: epochs in which the rate first rises on a straight line, while the fall is already counted.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.above_zero("speed", speed)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)

    def fallen(step: int) -> float:
        return 1.0 / (1.0 + speed * _steps.epochs_of(step, steps_per_epoch, smooth=smooth))

    return _steps.by_step(learning_rate, fallen, rising=rising)
