"""What the metrics share that are a share of right answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array


class ShareOfRight(ABC):
    """Share of samples whose answer is right; a class below says which are."""

    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def _are_right(self, outputs: Array, targets: Array) -> Array:
        """Return whether each answer is right, [N] bool.

        Raises:
            ConfigError: the shapes do not fit.
        """

    def reset(self) -> None:
        """Forget all batches."""
        self._right = 0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets of one batch.

        Raises:
            ConfigError: the shapes do not fit.
        """
        right = self._are_right(outputs, targets)
        self._right += int(np.count_nonzero(right))
        self._count += len(right)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return self._right / self._count if self._count else float("nan")

    def merge(self, other: "ShareOfRight") -> None:
        """Take in what another one has gathered."""
        self._right += other._right
        self._count += other._count

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"right": self._right, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._right, self._count = state["right"], state["count"]
