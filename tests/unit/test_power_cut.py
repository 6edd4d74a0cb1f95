"""Checkpoints that are not forced to the disk one by one: what a kill leaves of them, and what a power cut does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit import checkpoint
from expkit.api import EpochEnd, FitEnd, LearnerState, StepEnd
from expkit.callbacks import CheckpointCallback, History, checkpoints_in, read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.errors import CheckpointError
from expkit.tracking.journal import Journal, recorded_points
from expkit.trainer import Monitor

LONG = 3600.0
MONITOR = Monitor("valid/loss", higher_is_better=False)

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells starts of the system apart on Linux")


def saved(epoch: int, best_epoch: int = 0, value: float = 0.5) -> Snapshot:
    """Make the end of an epoch of ten steps."""
    progress = {"epoch": epoch, "step": 10 * epoch, "validated": epoch, "best_epoch": best_epoch or epoch}
    monitored = {"name": "valid/loss", "value": value, "higher_is_better": False}
    learner = LearnerState({"w": np.full(3, epoch, np.float32)}, {})
    return Snapshot(learner, progress, run={"monitored": monitored})


def save(folder: CheckpointFolder, *values: float) -> None:
    for epoch, value in enumerate(values, start=1):
        best = values.index(min(values[:epoch])) + 1
        folder.save(saved(epoch, best, value), best=best == epoch)


def epochs(names: Any) -> list[int]:
    return sorted(int(name[6:10]) for name in names)


def indexed(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "index.json").read_text())


def cut_power(folder: Path) -> None:
    """Leave of what was not forced to the disk what a file system may: empty files."""
    for mark in folder.glob("*/not-synced"):
        for file in mark.parent.iterdir():
            file.write_bytes(b"")


def test_each_is_there_for_whoever_reads_and_only_the_first_waited_for_the_disk(tmp_path, monkeypatch):
    synced: list[int] = []
    forced = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), forced(file)))
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    save(folder, 5.0)
    before = len(synced)
    save(folder, 5.0, 3.0, 4.0, 4.5)
    assert len(synced) == before > 0
    assert epochs([indexed(tmp_path)["last"]]) == [1]
    for reader in (folder, CheckpointFolder(tmp_path)):
        assert reader.load("last").progress["epoch"] == 4
        assert reader.load("best").progress["epoch"] == 2
        assert epochs(reader.history()) == [1, 2, 3, 4]  # the first, to fall back on; the best, the last two


def test_a_spare_that_is_written_over_is_kept_only_until_the_next_is_forced_to_the_disk(tmp_path):
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    for epoch in range(1, 9):  # arrays of all sizes: a file that is written over may become shorter
        learner = LearnerState({"w": np.full(100 - 7 * epoch, epoch, np.float32)}, {})
        folder.save(replace(saved(epoch, value=1 / epoch), learner=learner), best=True)
        assert folder.load("last").learner.model["w"].tolist() == [epoch] * (100 - 7 * epoch)
    assert [path.name for path in tmp_path.glob(".*")] == [".epoch-spare"]
    folder.secure()
    assert list(tmp_path.glob(".*")) == []
    assert epochs(folder.history()) == [7, 8]


def test_after_a_power_cut_the_last_that_was_forced_to_the_disk_is_the_last(tmp_path):
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    save(folder, 5.0, 3.0, 4.0, 2.0)
    cut_power(tmp_path)
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    assert folder.load("last").progress["epoch"] == folder.load("best").progress["epoch"] == 1
    assert epochs(folder.lost()) == [2, 3, 4]
    folder.save(saved(2), best=True)
    assert folder.lost() == []
    assert epochs(folder.history()) == [1, 2]
    assert folder.load("last").progress["epoch"] == 2


def test_one_that_survived_a_power_cut_whole_is_not_used_as_what_goes_with_it_may_not_have(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    save(folder, 5.0, 3.0)
    monkeypatch.setattr(checkpoint, "start_of_the_system", lambda: "another")
    assert folder.load("last").progress["epoch"] == 1
    assert epochs(folder.history()) == [1]
    with pytest.raises(CheckpointError, match="no checkpoint 'epoch-0002-step-00000020'"):
        folder.load("epoch-0002-step-00000020")


def test_the_next_that_is_forced_to_the_disk_takes_those_with_it_that_are_kept(tmp_path):
    now = [0.0]
    folder = CheckpointFolder(tmp_path, sync_every=10.0, clock=lambda: now[0])
    save(folder, 5.0, 3.0, 4.0)
    now[0] = 10.0
    folder.save(saved(4, 2, 4.5), best=False)
    assert list(tmp_path.glob("*/not-synced")) == []
    assert epochs(indexed(tmp_path)[key] for key in ("last", "previous", "best")) == [2, 3, 4]
    folder.save(saved(5, 2, 4.5), best=False)
    cut_power(tmp_path)
    assert CheckpointFolder(tmp_path).load("last").progress["epoch"] == 4
    assert CheckpointFolder(tmp_path).load("best").progress["epoch"] == 2


@pytest.mark.parametrize("end", ["secure", "mend", "go_back"])
def test_at_the_end_and_when_a_run_goes_on_the_rest_is_forced_to_the_disk(tmp_path, end):
    folder = CheckpointFolder(tmp_path, sync_every=LONG)
    save(folder, 5.0, 3.0, 4.0)
    last = folder.path("last").name
    if end == "secure":
        folder.secure()
        folder.secure()
    elif end == "mend":
        assert CheckpointFolder(tmp_path).mend() == []  # nothing was amiss
    else:
        CheckpointFolder(tmp_path).go_back(last, folder.path("best").name)
    cut_power(tmp_path)
    assert CheckpointFolder(tmp_path).load("last").progress["epoch"] == 3
    assert CheckpointFolder(tmp_path).load("best").progress["epoch"] == 2


def test_the_best_k_are_the_same_as_if_each_had_been_forced_to_the_disk(tmp_path):
    values = [0.5, 0.3, 0.4, 0.2, 0.25, 0.9, 0.3, 0.22]
    folders = [CheckpointFolder(tmp_path / name, 3, sync_every=every) for name, every in (("a", 0.0), ("b", LONG))]
    for folder in folders:
        save(folder, *values)
        folder.secure()
    assert indexed(folders[0].folder) == indexed(folders[1].folder)
    assert folders[0].history() == folders[1].history()


def test_where_starts_of_the_system_cannot_be_told_apart_each_is_forced_to_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "start_of_the_system", lambda: "")
    save(CheckpointFolder(tmp_path, sync_every=LONG), 5.0, 3.0)
    assert epochs([indexed(tmp_path)["last"]]) == [2]
    assert list(tmp_path.glob("*/not-synced")) == []


class Disk:
    """A disk that keeps of a file what was forced to it last, and can lose its power before and after each such call.

    Args:
        run: the run folder.
        away: where what is left of it is put together.
        monkeypatch: to listen.
        each: whether each checkpoint has to outlive a power cut.
    """

    def __init__(self, run: Path, away: Path, monkeypatch: pytest.MonkeyPatch, *, each: bool) -> None:
        self._run, self._away, self._each = run, away, each
        self._kept: dict[int, bytes] = {}
        self._held: list[int] = []  # open files, whose numbers are given to no others
        self._start, self.cuts, self.done = "one", 0, 0
        self._sync, self._checking = os.fsync, False
        monkeypatch.setattr(checkpoint, "start_of_the_system", lambda: self._start)
        monkeypatch.setattr(os, "fsync", self._around(self._fsync))
        for name in ("rename", "replace"):
            monkeypatch.setattr(Path, name, self._around(getattr(Path, name)))

    def _fsync(self, file: int) -> None:
        self._sync(file)
        path = Path(f"/proc/self/fd/{file}").resolve()
        if path.is_file():
            self._held.append(os.dup(file))
            self._kept[os.fstat(file).st_ino] = path.read_bytes()

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any) -> Any:
            self.cut()
            result = call(*arguments)
            self.cut()
            return result

        return around

    def cut(self) -> None:
        """Hold what a kill and a power cut would leave now to what is promised."""
        if self._checking or not self.done:
            return
        self._checking = True
        self.cuts += 1
        assert hold(self._run) >= self.done
        self._start = "two"
        for whole in (False, True):
            found = self._away / f"{self.cuts}-{whole}"
            for path in self._run.rglob("*"):
                if path.is_file():
                    copy = found / path.relative_to(self._run)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    lucky = whole and "checkpoints" in path.parts
                    copy.write_bytes(path.read_bytes() if lucky else self._kept.get(path.stat().st_ino, b""))
            assert hold(found) >= (self.done if self._each else 2)
        self._start, self._checking = "one", False

    def close(self) -> None:
        for file in self._held:
            os.close(file)


def hold(run: Path) -> int:
    """Hold a run to having its last and best checkpoints, and a record that goes as far; returns the step."""
    folder = CheckpointFolder(run / "checkpoints")
    last = folder.load("last").progress
    if last["validated"]:
        assert folder.load("best").progress["epoch"] == last["best_epoch"]
    assert [step for step, _, _ in read_steps(run)][: last["step"]] == list(range(1, last["step"] + 1))
    assert [one["epoch"] for one in read_epochs(run)][: last["validated"]] == list(range(1, last["validated"] + 1))
    assert recorded_points(run).steps["loss"] >= last["step"]
    return int(last["step"])


def train(run: Path, disk: Disk, sync_every: float, losses: list[float]) -> None:
    """Do what training does to the disk: epochs of three steps, saved within and at their ends; after two, anew."""
    progress: dict[str, Any] = {"epoch": 0, "step": 0, "validated": 0, "best_epoch": 0}
    history, journal = History(run), Journal(run)

    def snapshot() -> Snapshot:
        history.write_steps()
        return Snapshot(LearnerState({"w": np.full(2, progress["step"])}, {}), dict(progress))

    for epoch, loss in enumerate(losses, start=1):
        if epoch % 2:
            folder = checkpoints_in(run, sync_every=sync_every)
            saving = CheckpointCallback(folder, snapshot, MONITOR, every_steps=2)
        for batch in range(3):
            progress.update(epoch=epoch, step=3 * (epoch - 1) + batch + 1)
            event = StepEnd(epoch, progress["step"], batch + 1, 8, loss, 0.1, {})
            journal.append_metrics({"loss": loss}, progress["step"], 0)
            for callback in (history, saving):
                callback.on_step_end(event)
        best = losses.index(min(losses[:epoch])) + 1
        progress.update(validated=epoch, best_epoch=best)
        end = EpochEnd(epoch, progress["step"], {"valid/loss": loss}, best == epoch, 1.0, print)
        for callback in (history, saving):
            callback.on_epoch_end(end)
        disk.done = progress["step"]
    saving.on_fit_end(FitEnd("finished", "", epoch, progress["step"]))
    journal.close()


@pytest.mark.slow
@pytest.mark.parametrize("sync_every", [0.0, LONG])
def test_wherever_the_power_is_cut_last_and_best_are_whole_and_never_ahead_of_the_record(
    tmp_path, monkeypatch, sync_every
):
    run = tmp_path / "run"
    run.mkdir()
    disk = Disk(run, tmp_path / "left", monkeypatch, each=not sync_every)
    losses = [5.0, 4.0, 4.5, 4.25, 3.0]
    try:
        train(run, disk, sync_every, losses)
        assert disk.cuts > 50
        disk.cut()
        assert hold(tmp_path / "left" / f"{disk.cuts}-False") == 3 * len(losses)  # the end outlives a power cut
    finally:
        disk.close()
