"""L1 regularization."""

from paddle.regularizer import L1Decay

from ._pattern import Selection


class L1:
    """Add coefficient * sign(w) to the gradient, the slope of coefficient * sum(abs(w)) (Tibshirani 1996).

    Args:
        coefficient: strength of the decay; 0 switches it off.
        pattern: names of the parameters that decay, such as "*.weight"; several by commas: "conv*,head.*".

    Raises:
        ConfigError: the coefficient is negative; the pattern is empty.

    Example:
        >>> L1(coefficient=0.01, pattern="*.weight").decay("head.bias", (10,)) is None
        True
    """

    def __init__(self, *, coefficient: float = 1e-4, pattern: str = "*"):
        self._decay = L1Decay(coefficient)
        self._selection = Selection(coefficient, pattern)
        self.pattern = pattern if coefficient > 0 else ""

    def decay(self, name: str, shape: tuple[int, ...]) -> L1Decay | None:
        """Return the decay of this parameter, or None to leave it alone.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """
        return self._decay if name in self._selection else None
