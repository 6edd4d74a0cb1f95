"""A rate that falls at chosen epochs."""

from bisect import bisect_right

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def multi_step(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    milestones: list[float] = (30.0, 60.0, 90.0),
    factor: float = 0.1,
    warmup: float = 0.0,
) -> LambdaDecay:
    """Multiply the rate by a factor at each milestone (He et al. 2016, sec. 3.4).

    Args:
        learning_rate: supplied; the optimizer's, used until the first milestone.
        steps_per_epoch: supplied.
        epochs: supplied.
        milestones: epochs after which the rate falls, in rising order; those beyond the training play no part.
        factor: what the rate is multiplied by, above 0 and below 1.
        warmup: epochs in which the rate first rises on a straight line; milestones are counted from its beginning.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.factor(factor)
    steps = _steps.steps_at("milestones", milestones, steps_per_epoch)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    return _steps.by_step(learning_rate, lambda number: factor ** bisect_right(steps, number), rising=rising)
