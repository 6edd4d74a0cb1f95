"""The framework's own callbacks: history and checkpoints. Others are plugins."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from expkit.api import Callback, EpochEnd, FitEnd, FitStart, StepEnd
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.errors import CheckpointError, RunNotFoundError
from expkit.files import sync_file, sync_folder, write_whole
from expkit.tracking.journal import JOURNAL
from expkit.trainer import Monitor

EPOCHS, STEPS = "history.json", "steps.csv"
_HEAD = "step,loss,learning_rate\n"
_START, _TAIL = "[\n", b"\n]\n"


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
        self._size = 0  # of the file of epochs; 0 where it has to be written anew

    def take_back(self, epoch: int, step: int) -> tuple[int, int]:
        """Go on from the files of an earlier start; what they say of later epochs and steps is forgotten.

        Returns:
            How many steps and epochs they hold.
        """
        self.epochs = [known for known in read_epochs(self._epochs_file.parent) if known["epoch"] <= epoch]
        rows = [row for row in read_steps(self._steps_file.parent) if row[0] <= step]
        self.steps, self._unwritten = [loss for _, loss, _ in rows], []
        self._size = 0
        if self._epochs_file.exists():
            self._write_epochs()
        if self._steps_file.exists():
            write_whole(self._steps_file, _HEAD + "".join(map(_line, rows)))
        return len(rows), len(self.epochs)

    def on_step_end(self, event: StepEnd) -> None:
        """Remember the loss."""
        self.steps.append(event.loss)
        self._unwritten.append((event.step, float(event.loss), float(event.learning_rate)))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Remember the metrics."""
        self.epochs.append({"epoch": event.epoch, "seconds": event.seconds, **event.metrics})
        with _explained(self._epochs_file):
            if self._size and self._epochs_file.is_file() and self._epochs_file.stat().st_size == self._size:
                self._append_epoch()
            else:
                self._write_epochs()
        self.write_steps()

    def on_fit_end(self, event: FitEnd) -> None:
        """Write the steps of an epoch that was not finished."""
        self.write_steps()

    def _write_epochs(self) -> None:
        text = _START + ",\n".join(map(json.dumps, self.epochs)) + _TAIL.decode()
        write_whole(self._epochs_file, text)
        self._size = len(text) if self.epochs else 0

    def _append_epoch(self) -> None:
        """Put the last epoch behind the others, for there may be thousands; those before it are not touched."""
        added = b",\n" + json.dumps(self.epochs[-1]).encode() + _TAIL
        end = self._size - len(_TAIL)
        with self._epochs_file.open("r+b", buffering=0) as file:
            try:
                file.seek(end)
                if file.write(added) != len(added):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.seek(end)
                file.write(_TAIL)
                file.truncate()
                raise
        self._size = end + len(added)

    def write_steps(self) -> None:
        """Write the steps that are not in the file yet: no checkpoint may be ahead of it.

        Raises:
            CheckpointError: the disk is full or not writable.
        """
        new = not self._steps_file.exists()
        if not (new or self._unwritten):
            return
        with _explained(self._steps_file), self._steps_file.open("a", encoding="utf-8") as file:
            file.write((_HEAD if new else "") + "".join(map(_line, self._unwritten)))
        self._unwritten = []


def checkpoints_in(
    run: Path, name: str = "checkpoints", *, keep: int | None = 1, sync_every: float = 0.0
) -> CheckpointFolder:
    """Return the checkpoints of a run, which on the disk are never ahead of its steps, its epochs and its journal.

    Args:
        run: its folder.
        name: of the folder in it.
        keep: as `CheckpointFolder` has it.
        sync_every: likewise.
    """

    def sync() -> None:
        for path in (run / EPOCHS, run / STEPS, run / JOURNAL):
            if path.exists():
                sync_file(path)
        sync_folder(run)

    return CheckpointFolder(run / name, keep, sync_every=sync_every, before_sync=sync)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or error}. The earlier checkpoints are untouched. "
            "Free some space and run again."
        ) from error


def _line(row: tuple[int, float, float]) -> str:
    step, loss, rate = row
    return f"{step},{loss!r},{rate!r}\n"


def read_epochs(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of each epoch of a run; none where there are none yet, nor a last one that a crash cut short.

    Raises:
        RunNotFoundError: the file is damaged.
    """
    path = folder / EPOCHS
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        return [dict(epoch) for epoch in json.loads(text if text.endswith("]\n") else _mended(text))]
    except (TypeError, ValueError) as error:
        raise RunNotFoundError(f"{path} is damaged: {error}.") from error


def _mended(text: str) -> str:
    """Return the text of a history without its last line, which a crash cut short; each epoch has a line."""
    lines = text.splitlines(keepends=True)
    if not text.startswith(_START) or len(lines) < 2:
        return text
    return "".join(lines[:-1]).rstrip(",\n") + "]"


def read_steps(folder: Path) -> list[tuple[int, float, float]]:
    """Read (step, loss, learning rate) of each step of a run; a last line that a crash cut short is left out.

    Raises:
        RunNotFoundError: the file is damaged.
    """
    path = folder / STEPS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    rows = []
    for line in (line for line in lines if line.endswith("\n")):
        try:
            step, loss, rate = line.split(",")
            rows.append((int(step), float(loss), float(rate)))
        except ValueError as error:
            raise RunNotFoundError(f"{path} is damaged: {line.strip()!r} is not a step, its loss and rate.") from error
    return rows


class CheckpointCallback(Callback):
    """Saves a checkpoint after every epoch, within one as often as is asked, and when training is interrupted.

    It comes after those whose state it saves, and after what records metrics: what a checkpoint has behind it, the
    record has, too.

    Args:
        checkpoints: where to.
        snapshot: returns the state as it is now.
        monitor: says which epochs are the best.
        every_steps: optimizer steps from one to the next; None saves by epochs only.
        every_seconds: from the end of one to the next; None as above.
        clock: tells seconds.

    Attributes:
        saved: (epoch, step) of the last checkpoint that was written; None before.
    """

    def __init__(
        self,
        checkpoints: CheckpointFolder,
        snapshot: Callable[[], Snapshot],
        monitor: Monitor,
        *,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpoints, self._snapshot, self._monitor = checkpoints, snapshot, monitor
        self._every_steps, self._every_seconds, self._clock = every_steps, every_seconds, clock
        self._saved_at = clock()
        self.saved: tuple[int, int] | None = None

    def on_fit_start(self, event: FitStart) -> None:
        """Count seconds from here."""
        self._saved_at = self._clock()

    def on_step_end(self, event: StepEnd) -> None:
        """Save within an epoch, where that is asked for."""
        by_step = self._every_steps is not None and event.step % self._every_steps == 0
        if by_step or (self._every_seconds is not None and self._clock() - self._saved_at >= self._every_seconds):
            self._save(self._snapshot(), best=False)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Save; the best ones are kept apart from the last."""
        snapshot, name = self._snapshot(), self._monitor.name
        monitored = {
            "name": name,
            "value": event.metrics[name],
            "higher_is_better": self._monitor.higher_is_better,
        }
        self._save(replace(snapshot, run={**snapshot.run, "monitored": monitored}), best=event.is_best)

    def on_fit_end(self, event: FitEnd) -> None:
        """Save the middle of an epoch when somebody asked to stop, unless that step is saved already."""
        if event.status == "interrupted" and event.step > 0 and self.saved != (event.epoch, event.step):
            self._save(self._snapshot(), best=False)
        self._checkpoints.secure()

    def _save(self, snapshot: Snapshot, *, best: bool) -> None:
        self._checkpoints.save(snapshot, best=best)
        self._saved_at, self.saved = self._clock(), (snapshot.progress["epoch"], snapshot.progress["step"])
