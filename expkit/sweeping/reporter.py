"""The callback that tells a sweep how far a job is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from expkit.api import Callback, EpochEnd, FitStart, StepEnd
from expkit.callbacks import read_epochs
from expkit.config import ExperimentConfig
from expkit.preparation import find_monitor
from expkit.sweeping.jobs import Report
from expkit.trainer import Monitor, Pruned


class Reporter(Callback):
    """Reports the start, each epoch, and now and then a step.

    Args:
        config: of the run.
        report: called with each report; of an epoch's, a true answer ends a job that may be pruned.
        prunes: whether it may.
        every: seconds from one report within an epoch to the next.

    Attributes:
        best: value of the best epoch; None before the first.
        best_metrics: of that epoch.
    """

    def __init__(
        self, config: ExperimentConfig, report: Callable[[Report], bool], *, prunes: bool, every: float
    ) -> None:
        self._config, self._report, self._prunes, self._every = config, report, prunes, every
        self._next = 0.0
        self._monitor = Monitor("", higher_is_better=True)
        self._epochs = self._steps = self._done = 0
        self.best: float | None = None
        self.best_metrics: dict[str, float] = {}

    def on_fit_start(self, event: FitStart) -> None:
        """Report where training begins; what a resumed run has behind it counts for its best epoch."""
        self._epochs, self._steps = event.epochs, event.epochs * event.steps_per_epoch
        measured = {name: up for name, up in event.higher_is_better.items() if name.startswith("valid/")}
        self._monitor = find_monitor(self._config, measured)
        for epoch in read_epochs(event.folder):
            self._done = int(epoch["epoch"])
            self._note({name: value for name, value in epoch.items() if name not in ("epoch", "seconds")})
        self._report(self._now(event.step))

    def on_step_end(self, event: StepEnd) -> None:
        """Report a step, unless one was reported just before."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            self._report(self._now(event.step))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Report an epoch, and end training where the answer is that it is not worth the rest.

        Raises:
            Pruned: so it is.
        """
        self._done = event.epoch
        self._note(event.metrics)
        give_up = self._report(self._now(event.step, event.metrics))
        if give_up and self._prunes:
            raise Pruned(f"pruned after epoch {event.epoch} of {self._epochs}")

    def _note(self, metrics: Mapping[str, float]) -> None:
        value = metrics.get(self._monitor.name, math.nan)
        if self._monitor.improves(value, self.best):
            self.best, self.best_metrics = value, dict(metrics)

    def _now(self, step: int, metrics: Mapping[str, float] | None = None) -> Report:
        return Report(
            epoch=self._done,
            epochs=self._epochs,
            step=step,
            steps=self._steps,
            metrics=dict(metrics or {}),
            monitored=None if metrics is None else metrics.get(self._monitor.name),
            monitor=self._monitor.name,
            higher_is_better=self._monitor.higher_is_better,
        )
