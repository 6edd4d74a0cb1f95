"""The area under the ROC curve."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec

from ._classes import check_target, true_classes


class AreaUnderROC:
    """Area under the ROC curve: how probably a sample of a class is ranked above one of another (Fawcett 2006, sec. 7).

    Of two classes, the second is the positive one. Of more, it is the mean over all classes, each against the others;
    a class that no sample or every sample belongs to has no area and is left out. Exact, by ranks (Mann and Whitney
    1947): samples of equal probability count half. It keeps the outputs and classes of all samples since `reset`, 44
    bytes for each sample of ten classes, and sorts them in `compute`.

    Of targets that are shares [N, K], the class with the largest share is the true one.

    Args:
        spec: supplied; targets must be two classes or more.

    Raises:
        ConfigError: the targets are no classes, or there is one class only.

    Example:
        >>> metric = AreaUnderROC(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.0, 0.1], [0.0, 0.4], [0.0, 0.3]]), np.array([0, 0, 1]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.5
    """

    higher_is_better = True

    def __init__(self, spec: DataSpec):
        check_target("auc", spec)
        if spec.outputs < 2:
            raise ConfigError(f"metrics=auc needs two classes or more; {spec.name} has {spec.outputs}.")
        self._probabilities = spec.target.probabilities
        self._positive = (1,) if spec.outputs == 2 else range(spec.outputs)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._outputs: list[Array] = []
        self._classes: list[Array] = []

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and classes [N] or shares [N, K] of one batch.

        Raises:
            ConfigError: the shapes do not fit.
        """
        classes = true_classes("auc", outputs, targets)
        self._outputs.append(outputs.copy())
        self._classes.append(classes.astype(np.int32))

    def compute(self) -> float:
        """Value over all batches; NaN when no class can be told from another, or an output is not a number."""
        if not self._outputs:
            return float("nan")
        probabilities = self._probabilities(np.concatenate(self._outputs))
        classes = np.concatenate(self._classes)
        if np.isnan(probabilities).any():
            return float("nan")
        areas = [_area(probabilities[:, number], classes == number) for number in self._positive]
        known = [area for area in areas if area is not None]
        return sum(known) / len(known) if known else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint: outputs and classes of all samples since `reset`."""
        if not self._outputs:
            return {}
        return {"outputs": np.concatenate(self._outputs), "classes": np.concatenate(self._classes)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._outputs, self._classes = ([state[name]] if state else [] for name in ("outputs", "classes"))


def _area(scores: Array, positive: Array) -> float | None:
    """Return the area for scores [N] and which of them are positive, [N] bool; None when all or none are."""
    count = int(np.count_nonzero(positive))
    others = len(positive) - count
    if not count or not others:
        return None
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(times) - (times - 1) / 2  # from 1; samples of equal score share the mean of their ranks
    return float((ranks[place[positive]].sum() - count * (count + 1) / 2) / (count * others))
