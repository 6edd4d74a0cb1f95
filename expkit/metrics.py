"""Running means of the loss and the chosen metrics over batches."""

from __future__ import annotations

import math
from collections.abc import Mapping

from expkit.api import Metric, StepResult
from expkit.errors import ConfigError
from expkit.spec import Array


class Meter:
    """Gathers the loss and the metrics of many batches.

    Args:
        metrics: by name; the meter resets and updates them, so each meter needs its own.

    Raises:
        ConfigError: a metric is called "loss", the name of what is measured anyway.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        if "loss" in metrics:
            raise ConfigError("a metric is called 'loss', which is measured anyway. Give the metric another name.")
        self._metrics = metrics
        self.reset()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Direction of each value that `compute` returns; the metrics first, the loss last."""
        return {**{name: metric.higher_is_better for name, metric in self._metrics.items()}, "loss": False}

    def reset(self) -> None:
        """Forget all batches."""
        self._loss, self._samples = 0.0, 0
        for metric in self._metrics.values():
            metric.reset()

    def update(self, result: StepResult, targets: Array) -> None:
        """Take in one batch."""
        self._loss += result.loss * len(targets)
        self._samples += len(targets)
        for metric in self._metrics.values():
            metric.update(result.outputs, targets)

    def compute(self, prefix: str = "") -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...} over all batches since the reset, each name after the prefix.

        Every value is NaN when there were none.
        """
        values = {"loss": self._loss / self._samples if self._samples else math.nan}
        values.update({name: float(metric.compute()) for name, metric in self._metrics.items()})
        return {prefix + name: value for name, value in values.items()}
