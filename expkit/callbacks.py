"""The framework's own callbacks: history and checkpoints. Others are plugins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from expkit.api import Callback, EpochEnd, FitEnd, StepEnd
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.errors import RunNotFoundError

EPOCHS, STEPS = "history.json", "steps.csv"


class History(Callback):
    """Remembers what plots and comparisons need; `history.json` and `steps.csv` hold it after every epoch.

    Attributes:
        steps: loss of each step.
        epochs: metrics of each epoch, with "epoch" and "seconds".
    """

    def __init__(self, folder: Path) -> None:
        self._epochs_file, self._steps_file = folder / EPOCHS, folder / STEPS
        self._unwritten: list[tuple[int, float, float]] = []
        self.steps: list[float] = []
        self.epochs: list[dict[str, float]] = []

    def take_back(self, epoch: int, step: int) -> None:
        """Go on from the files of an earlier start; what they say of later epochs and steps is forgotten."""
        self.epochs = [known for known in read_epochs(self._epochs_file.parent) if known["epoch"] <= epoch]
        rows = [row for row in read_steps(self._steps_file.parent) if row[0] <= step]
        self.steps, self._unwritten = [loss for _, loss, _ in rows], rows
        self._steps_file.unlink(missing_ok=True)
        self._write_steps()

    def on_step_end(self, event: StepEnd) -> None:
        """Remember the loss."""
        self.steps.append(event.loss)
        self._unwritten.append((event.step, float(event.loss), float(event.learning_rate)))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Remember the metrics."""
        self.epochs.append({"epoch": event.epoch, "seconds": event.seconds, **event.metrics})
        unfinished = self._epochs_file.with_name(f".{EPOCHS}.tmp")
        unfinished.write_text(json.dumps(self.epochs, indent=1), encoding="utf-8")
        unfinished.replace(self._epochs_file)
        self._write_steps()

    def on_fit_end(self, event: FitEnd) -> None:
        """Write the steps of an epoch that was not finished."""
        self._write_steps()

    def _write_steps(self) -> None:
        new = not self._steps_file.exists()
        with self._steps_file.open("a", encoding="utf-8") as file:
            if new:
                file.write("step,loss,learning_rate\n")
            file.writelines(f"{step},{loss!r},{rate!r}\n" for step, loss, rate in self._unwritten)
        self._unwritten = []


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of each epoch of a run; none where there are none yet.

    Raises:
        RunNotFoundError: the file is damaged.
    """
    path = folder / EPOCHS
    if not path.is_file():
        return []
    try:
        return [dict(epoch) for epoch in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise RunNotFoundError(f"{path} is damaged: {error}.") from error


def read_steps(folder: Path) -> list[tuple[int, float, float]]:
    """Read (step, loss, learning rate) of each step of a run; a last line that a crash cut short is left out."""
    path = folder / STEPS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    rows = [line.split(",") for line in lines if line.endswith("\n")]
    return [(int(step), float(loss), float(rate)) for step, loss, rate in rows]


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
