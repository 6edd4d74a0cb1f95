"""The framework's own callbacks: history and checkpoints. Others are plugins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from expkit.api import Callback, EpochEnd, FitEnd, StepEnd
from expkit.checkpoint import CheckpointFolder, Snapshot


class History(Callback):
    """Remembers what the plots and the result need, and writes `history.json` after every epoch.

    Attributes:
        steps: loss of each step.
        epochs: metrics of each epoch, with "epoch" and "seconds".
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "history.json"
        self.steps: list[float] = []
        self.epochs: list[dict[str, float]] = []

    def on_step_end(self, event: StepEnd) -> None:
        """Remember the loss."""
        self.steps.append(event.loss)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Remember the metrics."""
        self.epochs.append({"epoch": event.epoch, "seconds": event.seconds, **event.metrics})
        self._file.write_text(json.dumps(self.epochs, indent=1), encoding="utf-8")


class CheckpointCallback(Callback):
    """Saves a checkpoint after every epoch, and when training is interrupted within one.

    Args:
        checkpoints: where to.
        snapshot: returns the state as it is now.
    """

    def __init__(self, checkpoints: CheckpointFolder, snapshot: Callable[[], Snapshot]) -> None:
        self._checkpoints, self._snapshot = checkpoints, snapshot

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Save; the best one is kept apart from the last."""
        self._checkpoints.save(self._snapshot(), best=event.is_best)

    def on_fit_end(self, event: FitEnd) -> None:
        """Save the middle of an epoch when somebody asked to stop; an epoch's end is saved already."""
        if event.status == "interrupted" and event.step > 0:
            self._checkpoints.save(self._snapshot(), best=False)
