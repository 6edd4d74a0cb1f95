"""L1 and L2 regularization at once."""

from ._decays import decay_of
from ._pattern import PatternRegularizer, checked


class ElasticNet(PatternRegularizer):
    """Add l1 * sign(w) + l2 * w to the gradient (Zou and Hastie 2005): weights become 0 as with L1, but in groups.

    Args:
        l1: strength of the decay by the sign, of l1 * sum(abs(w)).
        l2: strength of the decay by the weight, of l2 / 2 * sum(w ** 2); with both 0 nothing decays.
        pattern: names of the parameters that decay, such as "*.weight"; several by commas: "conv*,head.*".

    Raises:
        ConfigError: a coefficient is negative; the pattern is empty.

    Example:
        >>> print(ElasticNet(l1=0.01, l2=0.1).decay("head.weight", (10, 2)))
        ElasticNetDecay, l1=0.010000, l2=0.100000
    """

    def __init__(self, *, l1: float = 1e-4, l2: float = 1e-4, pattern: str = "*"):
        super().__init__(decay_of(l1=checked("l1", l1), l2=checked("l2", l2)), pattern)
