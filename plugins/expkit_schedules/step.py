"""A rate that falls in steps."""

from paddle.optimizer.lr import StepDecay

from expkit.api import ConfigError

from . import _checks


def step(learning_rate: float, steps_per_epoch: int, *, every: int = 1, factor: float = 0.5) -> StepDecay:
    """Multiply the rate by a factor every few epochs.

    Args:
        learning_rate: supplied; the optimizer's, used until the first fall.
        steps_per_epoch: supplied.
        every: epochs between two falls.
        factor: what the rate is multiplied by, above 0 and below 1.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.rate(learning_rate)
    if every < 1:
        raise ConfigError(f"schedule.every={every}: must be 1 epoch or more.")
    if not 0.0 < factor < 1.0:
        raise ConfigError(f"schedule.factor={factor}: must be above 0 and below 1.")
    return StepDecay(learning_rate, step_size=every * steps_per_epoch, gamma=factor)
