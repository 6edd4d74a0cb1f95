"""How far certainty is from being right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from expkit.api import Array, Classes, ConfigError, DataSpec


class CalibrationError:
    """Mean distance between how certain answers are and how many are right (Guo et al. 2017, eq. 3).

    Answers are put into bins of equal width by the probability of the class that was chosen. 0 is best: of answers
    that are 80% certain, 80% are right.

    Args:
        spec: supplied; targets must be classes.
        bins: number of them.

    Raises:
        ConfigError: the targets are values; there are no bins.
    """

    higher_is_better = False

    def __init__(self, spec: DataSpec, *, bins: int = 15):
        if not isinstance(spec.target, Classes):
            raise ConfigError(f"plugin_name_calibration needs classes, but {spec.name} has values.")
        if bins < 1:
            raise ConfigError(f"metrics.plugin_name_calibration.bins={bins}: must be at least 1.")
        self._target, self._bins = spec.target, bins
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._gaps = np.zeros(self._bins)  # certainty minus success, added up
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets: classes [N], or shares of them [N, K]."""
        probabilities = self._target.probabilities(outputs)
        rows, chosen = np.arange(len(outputs)), probabilities.argmax(axis=1)
        certainty = probabilities[rows, chosen].astype(np.float64)
        success = targets[rows, chosen] if targets.ndim == 2 else chosen == targets
        bins = np.minimum((certainty * self._bins).astype(np.int64), self._bins - 1)
        self._gaps += np.bincount(bins, weights=certainty - success, minlength=self._bins)
        self._count += len(outputs)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return float(np.abs(self._gaps).sum() / self._count) if self._count else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """What was gathered since `reset`."""
        return {"gaps": self._gaps.copy(), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._gaps, self._count = np.array(state["gaps"]), int(state["count"])
