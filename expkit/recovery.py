"""Where a run is gone on from: its last checkpoint, an earlier one that was named, or its first step."""

from __future__ import annotations

import math
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expkit.callbacks import checkpoints_in, read_epochs
from expkit.checkpoint import CheckpointFolder
from expkit.config import ExperimentConfig
from expkit.errors import CheckpointError
from expkit.past import PastRun
from expkit.record_store import command
from expkit.report import quote_path
from expkit.runlog import log
from expkit.snapshot import Snapshot

ANCHOR = "rollback"
"""Folder of a run with checkpoints of its own, which `trainer.on_nonfinite=rollback` keeps."""


@dataclass(frozen=True)
class Start:
    """Where a run is gone on from.

    Attributes:
        snapshot: the state; None where nothing was saved yet, and the run begins with its first step.
        name: of its checkpoint.
        best: name of the checkpoint with the best weights until then, if there is one.
        back: whether the checkpoint was named, so that later ones are to be given up.
    """

    snapshot: Snapshot | None = None
    name: str = ""
    best: str | None = None
    back: bool = False

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return 0 if self.snapshot is None else int(self.snapshot.progress["step"])

    def settle(self, folder: Path) -> None:
        """Give up the checkpoints of a run that came after the one that was named.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        if not self.back:
            return
        checkpoints_in(folder).go_back(self.name, self.best)
        anchors = checkpoints_in(folder, ANCHOR)
        found = anchors.up_to(self.name)
        if found:
            anchors.go_back(found[0], None)
        else:  # the first one is made anew when the run goes on
            shutil.rmtree(anchors.folder, ignore_errors=True)


def find_start(past: PastRun, name: str | None = None) -> Start:
    """Find the checkpoint that a run is gone on from, and check it and that of the best weights.

    Args:
        past: the run.
        name: of a checkpoint; the last one by default.

    Raises:
        CheckpointError: it is missing, damaged or of another run; names the file, and the newest sound one with the
            command that goes on from that.
    """
    checkpoints = past.checkpoints
    if name is None and checkpoints.is_empty() and past.record.get("status") != "FINISHED":
        if past.record.get("status") == "PAUSED" or len(read_epochs(past.folder)) > 1:  # each is saved at its end
            raise CheckpointError(
                f"the checkpoints of the run are gone: {checkpoints.folder} has none. Bring that folder back, or start "
                f"the run anew: {command(past.config)}"
            )
        log.warning("%s has saved nothing yet: it begins with its first step again.", past.folder)
        return Start()
    try:
        if name is None:
            for one in checkpoints.lost():
                log.warning("%s may not have been on the disk yet when the machine stopped: it is left out.", one)
            for one in checkpoints.mend():
                log.warning("The index of the checkpoints did not name %s yet, which is whole: it is taken up.", one)
        path = checkpoints.path(name or "last")
        snapshot = _load(past, path.name)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_offer(past)}") from error
    try:
        return Start(snapshot, path.name, _best(past, path.name, snapshot), back=name is not None)
    except CheckpointError as error:
        if name is None:
            raise CheckpointError(
                f"{error} It holds the best weights so far. Training can go on without them, the next best taking "
                f"their place: {_resume(past, path.name)}"
            ) from error
        return _without_best(past, path.name, snapshot)


def how_to_go_on(config: ExperimentConfig, checkpoints: CheckpointFolder, epoch: int, step: int, why: str = "") -> str:
    """Say what is saved of a run that ends before its time, and which command goes on with it.

    Args:
        config: of the run.
        checkpoints: in its folder.
        epoch: where it ends.
        step: steps that were done.
        why: it ends.
    """
    saved, folder = checkpoints.history(), quote_path(checkpoints.folder.parent)
    what = f"All is saved, to epoch {epoch}, step {step}."
    if not checkpoints.holds(epoch, step):
        what = f"What came after the checkpoint {saved[0]} is lost." if saved else "Nothing was saved yet."
    same = ", or the same command again" if config.trainer.auto_resume else ""
    began = f"{why[0].upper()}{why[1:]}. " if why else ""
    return f"{began}{what} To go on: python -m expkit resume {folder}{same}"


def _load(past: PastRun, name: str) -> Snapshot:
    """Read a checkpoint, which has to be sound and of this run."""
    snapshot, own = past.checkpoints.load(name), past.record.get("id")
    other = snapshot.run.get("id", own)
    if other != own:
        raise CheckpointError(
            f"{past.checkpoints.folder / name} is whole, but belongs to another run: {other}, not {own}."
        )
    return snapshot


def _best(past: PastRun, name: str, snapshot: Snapshot) -> str | None:
    """Return the checkpoint of the best epoch until then; None when no epoch was measured yet.

    Raises:
        CheckpointError: it is damaged or gone.
    """
    epoch = snapshot.progress["best_epoch"]
    if not epoch:
        return None
    checkpoints = past.checkpoints
    trouble = CheckpointError(f"the checkpoint of epoch {epoch} is gone from {checkpoints.folder}.")
    for other in checkpoints.up_to(name):
        if other.startswith(f"epoch-{epoch:04d}-"):
            try:
                found = snapshot if other == name else _load(past, other)
            except CheckpointError as error:
                trouble = error
                continue
            if found.progress["validated"] == epoch:
                return other
    raise trouble


def _without_best(past: PastRun, name: str, snapshot: Snapshot) -> Start:
    """Let the best of the sound checkpoints until then take the place of the best one, which is lost."""
    lost = snapshot.progress["best_epoch"]
    found: tuple[str, dict[str, Any]] | None = None
    for other in reversed(past.checkpoints.up_to(name)):  # the oldest first: a tie does not make an epoch the best
        try:
            one = _load(past, other)
        except CheckpointError:
            continue
        monitored = one.run.get("monitored")
        if not monitored or math.isnan(monitored["value"]):
            continue
        sign = 1 if monitored["higher_is_better"] else -1
        if found is None or sign * monitored["value"] > sign * found[1]["value"]:
            found = other, {**monitored, "epoch": one.progress["epoch"]}
    best: dict[str, Any] = {"best": None, "best_epoch": 0, "best_metrics": {}}
    if found is not None:
        about = found[1]
        known = next((e for e in read_epochs(past.folder) if e["epoch"] == about["epoch"]), {})
        metrics = {key: value for key, value in known.items() if key not in ("epoch", "seconds")}
        best = {"best": about["value"], "best_epoch": about["epoch"]}
        best["best_metrics"] = metrics or {about["name"]: about["value"]}
    log.warning(
        "The weights of epoch %d, the best so far, are lost. %s.",
        lost,
        f"Epoch {best['best_epoch']} takes its place" if found else "The next epoch takes its place",
    )
    changed = replace(snapshot, progress={**snapshot.progress, **best})
    return Start(changed, name, None if found is None else found[0], back=True)


def _offer(past: PastRun) -> str:
    """Say what can be done when a checkpoint is no good."""
    for name in past.checkpoints.history():
        try:
            progress = _load(past, name).progress
        except CheckpointError:
            continue
        return (
            f"The newest sound checkpoint is {name} (epoch {progress['epoch']}, step {progress['step']}). "
            f"Go on from there: {_resume(past, name)}"
        )
    return f"No checkpoint of this run is sound. Start it anew: {command(past.config)}"


def _resume(past: PastRun, name: str) -> str:
    changes = "".join(f" {shlex.quote(change)}" for change in past.changes)
    return f"python -m expkit resume {quote_path(past.folder)} --checkpoint {name}{changes}"
