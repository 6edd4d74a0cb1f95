"""L1 regularization."""

from ._decays import decay_of
from ._pattern import PatternRegularizer, checked


class L1(PatternRegularizer):
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
        super().__init__(decay_of(l1=checked("coefficient", coefficient)), pattern)
