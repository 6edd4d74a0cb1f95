"""Metrics of a training on their way to a tracker."""

from __future__ import annotations

from expkit.events import Callback, EpochEnd, StepEnd
from expkit.runs import best_name
from expkit.tracking.sinks import Sink


class TrackingCallback(Callback):
    """Records every step and every epoch.

    MLflow draws one group of charts for each prefix before "/": ``step/...`` over optimizer steps;
    ``train/...``, ``valid/...`` and ``time/epoch_seconds`` over epochs. The groups stand in alphabetical
    order, so these names put the curves of the steps first.

    Args:
        tracker: takes the values.
        log_every: steps between two points; the first step of a training is always recorded.
    """

    def __init__(self, tracker: Sink, log_every: int = 1) -> None:
        if log_every < 1:
            raise ValueError(f"log_every={log_every}; it must be at least 1")
        self._tracker = tracker
        self._log_every = log_every
        self._names: dict[str, str] = {}

    def on_step_end(self, event: StepEnd) -> None:
        """Record loss, metrics and learning rate of the batch."""
        if event.step % self._log_every and event.step != 1:
            return
        if self._names.keys() != event.metrics.keys():
            self._names = {name: f"step/{name}" for name in event.metrics}
        values = {self._names[name]: value for name, value in event.metrics.items()}
        values["step/loss"] = event.loss
        values["step/learning_rate"] = event.learning_rate
        self._tracker.log_metrics(values, event.step)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Record what was measured over the epoch, and as ``valid/best_...`` what the best epoch so far has."""
        best = {best_name(name): value for name, value in event.metrics.items() if name.startswith("valid/")}
        values = {**event.metrics, "time/epoch_seconds": event.seconds, **(best if event.is_best else {})}
        self._tracker.log_metrics(values, event.epoch)
