"""L2 regularization."""

from paddle.regularizer import L2Decay

from ._pattern import Selection


class L2:
    """Add coefficient * w to the gradient, the slope of coefficient / 2 * sum(w ** 2) (ridge, Hoerl 1970).

    Args:
        coefficient: strength of the decay; 0 switches it off.
        pattern: names of the parameters that decay, such as "*.weight"; several by commas: "conv*,head.*".

    Raises:
        ConfigError: the coefficient is negative; the pattern is empty.

    Example:
        >>> L2(coefficient=0.01, pattern="*.weight").decay("head.bias", (10,)) is None
        True
    """

    def __init__(self, *, coefficient: float = 1e-4, pattern: str = "*"):
        self._decay = L2Decay(coefficient)
        self._selection = Selection(coefficient, pattern)
        self.pattern = pattern if coefficient > 0 else ""

    def decay(self, name: str, shape: tuple[int, ...]) -> L2Decay | None:
        """Return the decay of this parameter, or None to leave it alone.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """
        return self._decay if name in self._selection else None
