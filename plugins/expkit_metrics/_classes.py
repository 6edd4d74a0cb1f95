"""What the metrics of classification share: which targets they take, and counts for each class."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec

AVERAGES = ("macro", "micro", "weighted")


def check_target(metric: str, spec: DataSpec) -> None:
    """Refuse what is no classification.

    Raises:
        ConfigError: the targets are numbers.
    """
    if not spec.is_classification:
        raise ConfigError(
            f"metrics={metric} needs classes, but the targets of {spec.name} are numbers. "
            "Choose metrics=mse or metrics=mae."
        )


def true_classes(metric: str, outputs: Array, targets: Array) -> Array:
    """Return the class of each sample, [N]: of targets that are shares [N, K], the one with the largest share.

    Raises:
        ConfigError: the shapes do not fit; nothing is broadcast.
    """
    if outputs.ndim == 2 and targets.shape == outputs.shape[:1]:
        return targets
    if outputs.ndim == 2 and targets.shape == outputs.shape and targets.dtype.kind == "f":
        classes: Array = targets.argmax(axis=1)
        return classes
    raise ConfigError(
        f"metrics={metric} needs outputs [N, K] and classes [N] or shares [N, K], but the model answered "
        f"{list(outputs.shape)} to targets {list(targets.shape)}."
    )


class ScoreOfClasses(ABC):
    """A score of each class, worked out from how often it was true, predicted, and both; and its average.

    Attributes:
        name: as chosen by `metrics=`.
    """

    name: str
    higher_is_better = True

    def __init__(self, spec: DataSpec, average: str):
        check_target(self.name, spec)
        if average not in AVERAGES + spec.labels:
            raise ConfigError(
                f"metrics.{self.name}.average={average!r}: choose {', '.join(AVERAGES)}, or one of the classes of "
                f"{spec.name}: {', '.join(spec.labels)}."
            )
        self._average = average
        self._class = None if average in AVERAGES else spec.labels.index(average)
        self._size = spec.outputs
        self.reset()

    @abstractmethod
    def _score(self, right: Array, predicted: Array, true: Array) -> Array:
        """Return the score [...] from counts [...] of samples; NaN for a class that is neither true nor predicted.

        Args:
            right: samples of the class that were predicted to be of it.
            predicted: samples that were predicted to be of the class.
            true: samples of the class.
        """

    def reset(self) -> None:
        """Forget all batches."""
        self._right = np.zeros(self._size, dtype=np.int64)
        self._predicted = np.zeros(self._size, dtype=np.int64)
        self._true = np.zeros(self._size, dtype=np.int64)

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and classes [N] or shares [N, K] of one batch.

        Raises:
            ConfigError: the shapes do not fit.
        """
        true, predicted = true_classes(self.name, outputs, targets), outputs.argmax(axis=1)
        self._right += np.bincount(true[true == predicted], minlength=self._size)
        self._predicted += np.bincount(predicted, minlength=self._size)
        self._true += np.bincount(true, minlength=self._size)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none, or when the one class that counts was in none."""
        total = int(self._true.sum())
        if not total:
            return float("nan")
        if self._average == "micro":
            return float(self._score(self._right.sum(), self._predicted.sum(), self._true.sum()))
        scores = self._score(self._right, self._predicted, self._true)
        if self._class is not None:
            return float(scores[self._class])
        if self._average == "macro":
            return float(np.nanmean(scores))
        return float(np.nansum(scores * self._true) / total)

    def merge(self, other: "ScoreOfClasses") -> None:
        """Take in what another one has gathered."""
        self._right += other._right
        self._predicted += other._predicted
        self._true += other._true

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"right": self._right.copy(), "predicted": self._predicted.copy(), "true": self._true.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._right, self._predicted, self._true = (state[name].copy() for name in ("right", "predicted", "true"))


def ratio(part: Array, whole: Array, absent: Array) -> Array:
    """Return part / whole in float64: 0 where the whole is 0, NaN where the class is absent."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    result: Array = np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
    return np.where(absent, np.nan, result)
