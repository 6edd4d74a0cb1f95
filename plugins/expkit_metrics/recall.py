"""The share of a class that is found."""

from expkit.api import Array, DataSpec

from ._classes import ScoreOfClasses, ratio


class Recall(ScoreOfClasses):
    """Share of the samples of a class that are predicted to be of it (Manning et al. 2008, eq. 8.2), averaged.

    A class that is predicted and never occurs has the recall 0. A class that neither occurs nor is predicted has
    none: it is left out of the macro average, and NaN when it is the one that is asked for.

    Args:
        spec: supplied; targets must be classes.
        average: "macro" (every class counts alike: balanced accuracy), "weighted" (by how often a class occurs) and
            "micro" (every sample counts alike), which both equal accuracy, or the label of one class.

    Raises:
        ConfigError: the targets are no classes; average is none of these.

    Example:
        >>> metric = Recall(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]), np.array([1, 0, 0]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.75
    """

    name = "recall"

    def __init__(self, spec: DataSpec, *, average: str = "macro"):
        super().__init__(spec, average)

    def _score(self, right: Array, predicted: Array, true: Array) -> Array:
        return ratio(right, true, predicted + true == 0)
