"""What the regularizers share: coefficients, and which parameters they are for."""

import math
from fnmatch import fnmatchcase

from paddle.regularizer import WeightDecayRegularizer

from expkit.api import ConfigError


def checked(option: str, coefficient: float) -> float:
    """Return a coefficient that can be used.

    Raises:
        ConfigError: it is negative or not finite.
    """
    if not (math.isfinite(coefficient) and coefficient >= 0):
        raise ConfigError(f"regularizer.{option}={coefficient}: must be 0 or a number above 0.")
    return coefficient


class PatternRegularizer:
    """Gives one and the same decay to every parameter whose structured name matches one of several patterns.

    Args:
        decay: for those parameters; None when nothing is to decay.
        pattern: such as "*.weight" or "conv*,head.*".

    Attributes:
        pattern: as given; empty when nothing is to decay, so that nobody misses it.

    Raises:
        ConfigError: the pattern is empty.
    """

    def __init__(self, decay: WeightDecayRegularizer | None, pattern: str):
        self._decay = decay
        self._patterns = [part.strip() for part in pattern.split(",") if part.strip()]
        if not self._patterns:
            raise ConfigError(
                f"regularizer.pattern={pattern!r} selects nothing. Give names such as '*.weight', or choose "
                "regularizer=none."
            )
        self.pattern = "" if decay is None else pattern

    def decay(self, name: str, shape: tuple[int, ...]) -> WeightDecayRegularizer | None:
        """Return the decay of this parameter, or None to leave it alone.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """
        return self._decay if any(fnmatchcase(name, pattern) for pattern in self._patterns) else None
