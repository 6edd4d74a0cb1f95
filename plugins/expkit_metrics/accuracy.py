"""The share of right answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec

from ._classes import check_target, true_classes


class Accuracy:
    """Share of samples whose class is the model's first choice, or among its first `top_k`.

    Of equal outputs, the class with the lower number comes first. Of targets that are shares [N, K], the class with
    the largest share is the true one.

    Args:
        spec: supplied; targets must be classes.
        top_k: how many of the model's choices count, from 1 to the number of classes.

    Raises:
        ConfigError: the targets are no classes; top_k is out of range.

    Example:
        >>> metric = Accuracy(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.5
    """

    higher_is_better = True

    def __init__(self, spec: DataSpec, *, top_k: int = 1):
        check_target("accuracy", spec)
        if not 1 <= top_k <= spec.outputs:
            raise ConfigError(
                f"metrics.accuracy.top_k={top_k}: must be from 1 to {spec.outputs}, the number of classes."
            )
        self._top_k = top_k
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._right = 0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and classes [N] or shares [N, K] of one batch.

        Raises:
            ConfigError: the shapes do not fit.
        """
        classes = true_classes("accuracy", outputs, targets)
        if self._top_k == 1:
            right = outputs.argmax(axis=1) == classes
        else:
            choices = np.argsort(-outputs, axis=1, kind="stable")[:, : self._top_k]
            right = (choices == classes[:, None]).any(axis=1)
        self._right += int(np.count_nonzero(right))
        self._count += len(classes)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return self._right / self._count if self._count else float("nan")

    def merge(self, other: "Accuracy") -> None:
        """Take in what another one has gathered."""
        self._right += other._right
        self._count += other._count

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"right": self._right, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._right, self._count = state["right"], state["count"]
