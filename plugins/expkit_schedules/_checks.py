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
