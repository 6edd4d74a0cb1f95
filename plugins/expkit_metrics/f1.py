"""The balance of precision and recall."""

from expkit.api import Array, DataSpec

from ._classes import ScoreOfClasses, ratio


class F1(ScoreOfClasses):
    """Harmonic mean of precision and recall of a class (Manning et al. 2008, eq. 8.6), averaged over the classes.

    A class that is never predicted rightly has the score 0. A class that neither occurs nor is predicted has none: it
    is left out of the macro average, and NaN when it is the one that is asked for. The macro average is the mean of the
    classes' scores, not the harmonic mean of the averages.

    Args:
        spec: supplied; targets must be classes.
        average: "macro" (every class counts alike), "weighted" (by how often a class occurs), "micro" (every sample
            counts alike: equals accuracy), or the label of one class.

    Raises:
        ConfigError: the targets are no classes; average is none of these.

    Example:
        >>> metric = F1(spec, average="micro")  # doctest: +SKIP
        >>> metric.update(np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([1, 0]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.5
    """

    name = "f1"

    def __init__(self, spec: DataSpec, *, average: str = "macro"):
        super().__init__(spec, average)

    def _score(self, right: Array, predicted: Array, true: Array) -> Array:
        return ratio(2 * right, predicted + true, predicted + true == 0)
