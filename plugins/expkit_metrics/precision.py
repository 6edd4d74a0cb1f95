"""The share of right answers among those for a class."""

from expkit.api import Array, DataSpec

from ._classes import ScoreOfClasses, ratio


class Precision(ScoreOfClasses):
    """Share of the samples predicted to be of a class that are of it (Manning et al. 2008, eq. 8.1), averaged.

    A class that occurs and is never predicted has the precision 0. A class that neither occurs nor is predicted has
    none: it is left out of the macro average, and NaN when it is the one that is asked for.

    Args:
        spec: supplied; targets must be classes.
        average: "macro" (every class counts alike), "weighted" (by how often a class occurs), "micro" (every sample
            counts alike: equals accuracy), or the label of one class.

    Raises:
        ConfigError: the targets are no classes; average is none of these.

    Example:
        >>> metric = Precision(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]), np.array([1, 0, 0]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.75
    """

    name = "precision"

    def __init__(self, spec: DataSpec, *, average: str = "macro"):
        super().__init__(spec, average)

    def _score(self, right: Array, predicted: Array, true: Array) -> Array:
        return ratio(right, predicted, predicted + true == 0)
