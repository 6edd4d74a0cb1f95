"""A rate that stays."""

from . import _checks


def constant(learning_rate: float) -> float:
    """Keep the learning rate as it is.

    Args:
        learning_rate: supplied; the optimizer's.

    Raises:
        ConfigError: learning_rate is not above 0.
    """
    _checks.rate(learning_rate)
    return learning_rate
