"""The coefficient of determination."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, DataSpec

from ._residuals import check_target, residuals

SUMS = ("mean", "total", "residual", "least", "most")


class RSquared:
    """R2: 1 - residual / total sum of squares, the share of variance that is explained, mean over outputs.

    1 is perfect, 0 is as good as always answering the targets' mean, and it can be any negative number (Draper and
    Smith 1998, sec. 1.3). It is the same in normalised numbers and in the target's own unit. An output whose targets
    are all equal has no variance to explain: it is left out, and the value is NaN when there is no other.

    Args:
        spec: supplied; targets must be values, or the model must have one output.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = RSquared(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.5
    """

    higher_is_better = True

    def __init__(self, spec: DataSpec):
        check_target("r2", spec)
        self._size = spec.outputs
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._count = 0
        self._mean = np.zeros(self._size)  # of the targets
        self._total = np.zeros(self._size)  # squared distances of the targets to their mean
        self._residual = np.zeros(self._size)
        self._least, self._most = np.full(self._size, np.inf), np.full(self._size, -np.inf)

    @np.errstate(over="ignore", invalid="ignore")  # an exploding run shows as -inf, infinite targets as NaN
    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets [N, K] float32 (or classes [N] when K is 1) of one batch.

        Raises:
            ConfigError: the shapes differ.
        """
        difference = residuals("r2", outputs, targets)
        values, count = targets.reshape(difference.shape).astype(np.float64), len(targets)
        if not count:
            return
        mean = values.mean(axis=0)
        # Merged batch by batch (Chan et al. 1983, eq. 2.1): the plain sum of squares would lose digits where the mean
        # is large beside the spread.
        shift, both = mean - self._mean, self._count + count
        self._total += np.square(values - mean).sum(axis=0) + np.square(shift) * self._count * count / both
        self._mean += shift * count / both
        self._residual += np.square(difference).sum(axis=0)
        self._count = both
        self._least = np.minimum(self._least, values.min(axis=0))
        self._most = np.maximum(self._most, values.max(axis=0))

    def compute(self) -> float:
        """Value over all batches; NaN when there were none, or when no target differs from another."""
        varied = self._most > self._least  # rounding can leave a total above 0 for equal targets
        if not varied.any():
            return float("nan")
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.mean(1.0 - self._residual[varied] / self._total[varied]))

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"count": self._count, **{name: getattr(self, f"_{name}").copy() for name in SUMS}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._count = state["count"]
        for name in SUMS:
            setattr(self, f"_{name}", state[name].copy())
