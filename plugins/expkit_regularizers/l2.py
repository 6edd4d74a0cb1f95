"""L2 regularization."""

from ._decays import decay_of
from ._pattern import PatternRegularizer, checked


class L2(PatternRegularizer):
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
        super().__init__(decay_of(l2=checked("coefficient", coefficient)), pattern)
