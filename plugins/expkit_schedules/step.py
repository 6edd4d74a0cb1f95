"""A rate that falls in steps."""

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def step(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    every: int = 1,
    factor: float = 0.5,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Multiply the rate by a factor every few epochs.

    Args:
        learning_rate: supplied; the optimizer's, used until the first fall.
        steps_per_epoch: supplied.
        epochs: supplied.
        every: epochs between two falls.
        factor: what the rate is multiplied by, above 0 and below 1.
        warmup: epochs in which the rate first rises on a straight line; falls are counted from the beginning of it.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.at_least(1, "every", every, "epoch")
    _checks.factor(factor)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    return _steps.by_step(learning_rate, lambda number: factor ** (number // (every * steps_per_epoch)), rising=rising)
