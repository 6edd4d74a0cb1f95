"""What the schedules check before Paddle sees it, so that a mistake names the option."""

import math

from expkit.api import ConfigError


def rate(learning_rate: float) -> None:
    """Check the rate that a schedule starts from.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"optimizer.learning_rate={learning_rate}: must be a number above 0.")


def share(option: str, value: float) -> None:
    """Check a fraction of the first rate.

    Raises:
        ConfigError: it is not from 0 to 1.
    """
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"schedule.{option}={value}: must be from 0 to 1, a fraction of optimizer.learning_rate.")


def factor(value: float) -> None:
    """Check what a rate is multiplied by to fall.

    Raises:
        ConfigError: it is not above 0 and below 1.
    """
    if not 0.0 < value < 1.0:
        raise ConfigError(f"schedule.factor={value}: must be above 0 and below 1.")


def at_least(least: int, option: str, value: int, unit: str) -> None:
    """Check a count.

    Raises:
        ConfigError: it is too small.
    """
    if value < least:
        raise ConfigError(f"schedule.{option}={value}: must be {least} {unit} or more.")


def above_zero(option: str, value: float) -> None:
    """Check a number.

    Raises:
        ConfigError: it is not finite or not above 0.
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"schedule.{option}={value}: must be a number above 0.")
