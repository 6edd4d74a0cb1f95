"""The share of right answers of a regression onto whole numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, DataSpec, Values

from ._residuals import check_target, fitting, own_scale


class RoundedAccuracy:
    """Share of samples whose prediction, in the target's own unit, rounds to the same whole number as the target.

    For a regression onto the numbers of classes, or onto counts. Halves round to the even number; with several outputs,
    all of them have to be right.

    Args:
        spec: supplied; targets must be values, or the model must have one output.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = RoundedAccuracy(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[2.6], [3.4], [7.6]]), np.array([[3.0], [3.0], [7.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.6666666666666666
    """

    higher_is_better = True

    def __init__(self, spec: DataSpec):
        check_target("rounded_accuracy", spec)
        self._scale = own_scale(spec, own_unit=True)
        self._mean = np.asarray(spec.target.mean) if isinstance(spec.target, Values) else np.zeros(spec.outputs)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._right = 0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets [N, K] float32 (or classes [N] when K is 1) of one batch.

        Raises:
            ConfigError: the shapes differ.
        """
        targets = fitting("rounded_accuracy", outputs, targets)
        predicted, true = (np.rint(values * self._scale + self._mean) for values in (outputs, targets))
        self._right += int(np.count_nonzero((predicted == true).all(axis=1)))
        self._count += len(targets)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return self._right / self._count if self._count else float("nan")

    def merge(self, other: "RoundedAccuracy") -> None:
        """Take in what another one has gathered."""
        self._right += other._right
        self._count += other._count

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"right": self._right, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._right, self._count = state["right"], state["count"]
