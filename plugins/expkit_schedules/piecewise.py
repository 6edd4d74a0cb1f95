"""A rate that is chosen for each part of the training."""

from bisect import bisect_right

from paddle.optimizer.lr import LambdaDecay

from expkit.api import ConfigError

from . import _checks, _steps


def piecewise(
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    *,
    boundaries: list[float] = (30.0, 60.0),
    values: list[float] = (1.0, 0.1, 0.01),
    warmup: float = 0.0,
) -> LambdaDecay:
    """Use one fraction of the rate up to each boundary, and the last one after them.

    Args:
        learning_rate: supplied; the optimizer's.
        steps_per_epoch: supplied.
        epochs: supplied.
        boundaries: epochs after which the next value begins, in rising order; those beyond the training play no part.
        values: fractions of optimizer.learning_rate, one more than there are boundaries; above 1 is more than it.
        warmup: epochs in which the rate first rises on a straight line; boundaries are counted from its beginning.

    Raises:
        ConfigError: an option is out of range, or the numbers of boundaries and values do not fit.
    """
    steps = _steps.steps_at("boundaries", boundaries, steps_per_epoch)
    if len(values) != len(boundaries) + 1:
        raise ConfigError(
            f"schedule.values={list(values)}: {len(boundaries)} boundaries part the training into "
            f"{len(boundaries) + 1}; give one value for each."
        )
    for value in values:
        _checks.above_zero("values", value)
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    return _steps.by_step(learning_rate, lambda number: values[bisect_right(steps, number)], rising=rising)
