"""A rate that falls by the same factor every epoch."""

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def exponential(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    factor: float = 0.95,
    smooth: bool = False,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Multiply the rate by a factor every epoch: rate * factor ** epochs.

    Args:
        learning_rate: supplied; the optimizer's, used by the first step.
        steps_per_epoch: supplied.
        epochs: supplied.
        factor: what the rate is multiplied by in an epoch, above 0 and below 1.
        smooth: fall a little with each step; without, at the end of each epoch.
        warmup: epochs in which the rate first rises on a straight line, while the fall is already counted.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.factor(factor)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)

    def fallen(step: int) -> float:
        return factor ** _steps.epochs_of(step, steps_per_epoch, smooth=smooth)

    return _steps.by_step(learning_rate, fallen, rising=rising)
