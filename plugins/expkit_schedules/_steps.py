"""Schedules that know the rate of a step from its number alone."""

from collections.abc import Callable, Sequence

from paddle.optimizer.lr import LambdaDecay

from expkit.api import ConfigError

from . import _checks


def by_step(learning_rate: float, factor: Callable[[int], float], *, rising: int = 0) -> LambdaDecay:
    """Return a schedule of learning_rate * factor(step), after a warm-up that rises to it on a straight line.

    Args:
        learning_rate: the optimizer's.
        factor: of a step, counted from 0.
        rising: steps of the warm-up; the last of them has the full rate (Goyal et al. 2017, sec. 2.2).

    Raises:
        ConfigError: the rate is not above 0.
    """
    _checks.rate(learning_rate)

    def warmed(step: int) -> float:
        return factor(step) * (step + 1) / rising if step < rising else factor(step)

    return LambdaDecay(learning_rate, warmed)


def rising_steps(warmup: float, steps_per_epoch: int, epochs: int) -> int:
    """Return the steps of a warm-up of so many epochs.

    Raises:
        ConfigError: it is negative, or takes the whole training.
    """
    if not 0.0 <= warmup < epochs:
        raise ConfigError(f"schedule.warmup={warmup}: must be from 0 to below trainer.epochs={epochs}.")
    return round(warmup * steps_per_epoch)


def steps_at(option: str, epochs: Sequence[float], steps_per_epoch: int) -> list[int]:
    """Return the steps at which epochs end.

    Raises:
        ConfigError: they are none, not above 0, or do not rise.
    """
    falls = [later <= earlier for earlier, later in zip([0.0, *epochs], epochs, strict=False)]
    if not epochs or any(falls) or not all(epoch < float("inf") for epoch in epochs):
        raise ConfigError(
            f"schedule.{option}={list(epochs)}: give epochs above 0, each later than the one before, such as [30,60]."
        )
    return [round(epoch * steps_per_epoch) for epoch in epochs]


def epochs_of(step: int, steps_per_epoch: int, *, smooth: bool) -> float:
    """Return the epochs that are done before a step, with the fraction of the one that is going on, or without."""
    return step / steps_per_epoch if smooth else step // steps_per_epoch
