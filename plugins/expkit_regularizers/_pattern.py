"""What the regularizers share: a coefficient, and which parameters it is for."""

import math
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from expkit.api import ConfigError

Decay = TypeVar("Decay")


class Selection:
    """The parameters whose structured names match one of several comma-separated patterns.

    Args:
        coefficient: 0 or above; with 0 nothing is selected.
        pattern: such as "*.weight" or "conv*,head.*".

    Raises:
        ConfigError: the coefficient is negative or not finite; the pattern is empty.
    """

    def __init__(self, coefficient: float, pattern: str):
        if not (math.isfinite(coefficient) and coefficient >= 0):
            raise ConfigError(f"regularizer.coefficient={coefficient}: must be 0 or a number above 0.")
        self._coefficient = coefficient
        self._patterns = [part.strip() for part in pattern.split(",") if part.strip()]
        if not self._patterns:
            raise ConfigError(
                f"regularizer.pattern={pattern!r} selects nothing. Give names such as '*.weight', or choose "
                "regularizer=none."
            )

    def __contains__(self, name: str) -> bool:
        return self._coefficient > 0 and any(fnmatchcase(name, pattern) for pattern in self._patterns)


class PatternRegularizer(Generic[Decay]):
    """Gives one and the same decay to every selected parameter.

    Attributes:
        pattern: as given; empty when nothing is to decay, so that nobody misses it.
    """

    def __init__(self, decay: Decay, coefficient: float, pattern: str):
        self._decay = decay
        self._selection = Selection(coefficient, pattern)
        self.pattern = pattern if coefficient > 0 else ""

    def decay(self, name: str, shape: tuple[int, ...]) -> Decay | None:
        """Return the decay of this parameter, or None to leave it alone.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """
        return self._decay if name in self._selection else None
