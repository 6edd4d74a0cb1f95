"""Checkpoints: the whole state of training in a folder, written so that a crash never harms an earlier one.

A checkpoint is a folder `epoch-0003-step-00002346/` with

    model.safetensors      parameters and buffers by structured name
    optimizer.safetensors  accumulators by "<parameter>/<slot>"
    state.json             the rest: schedule, progress, callbacks, random state
    manifest.json          SHA-256 and size of each of these

`index.json` beside the folders names the last and the best one. No file is unpickled, so loading runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import LearnerState
from expkit.errors import CheckpointError

FORMAT = 1
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        learner: weights, accumulators, schedule.
        progress: epoch, step, best value.
        callbacks: state of each callback by name.
        random: state of the global generators.
        meters: what the meter of the training epoch has gathered so far; empty in checkpoints of older versions.
        run: which run it is of: "id", "mlflow_run_id", "config_hash", "data_fingerprint"; empty as above.
    """

    learner: LearnerState
    progress: dict[str, Any]
    callbacks: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)
    meters: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


class CheckpointFolder:
    """The `checkpoints/` folder of a run: keeps the last and the best.

    Args:
        folder: created at the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, snapshot: Snapshot, *, best: bool) -> Path:
        """Write a checkpoint, point "last" (and "best") to it, and remove those that nothing points to.

        Raises:
            CheckpointError: the disk is full or not writable; what was there before is untouched.
        """
        progress = snapshot.progress
        name = f"epoch-{progress['epoch']:04d}-step-{progress['step']:08d}"
        unfinished = self.folder / f".{name}.tmp-{os.getpid()}"
        try:
            name = self._free_name(name)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write_snapshot(unfinished, snapshot)
            target = self.folder / name
            unfinished.rename(target)
            _sync(self.folder)
            index = {**self._index(), "last": name, **({"best": name} if best else {})}
            _write_text(self.folder / "index.json", json.dumps(index, indent=2))
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {name} cannot be written to {self.folder}: {error.strerror or error}. "
                "The earlier checkpoints are untouched. Free some space and run again."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._prune(set(index.values()))
        return target

    def path(self, which: str) -> Path:
        """Return the folder of the "last" or "best" checkpoint.

        Raises:
            CheckpointError: there is none.
        """
        name = self._index().get(which)
        if name is None or not (self.folder / name).is_dir():
            raise CheckpointError(f"there is no {which} checkpoint in {self.folder}.")
        return self.folder / name

    def load(self, which: str) -> Snapshot:
        """Read the "last" or "best" checkpoint and check every file against its manifest.

        Raises:
            CheckpointError: there is none, or a file is missing or damaged; names the file.
        """
        return read_snapshot(self.path(which))

    def _index(self) -> dict[str, str]:
        path = self.folder / "index.json"
        if not path.is_file():
            return {}
        index = _json(path)
        if not all(isinstance(name, str) and Path(name).name == name for name in index.values()):
            raise CheckpointError(f"{path} is damaged: it names {', '.join(map(str, index.values()))}.")
        return index

    def _free_name(self, name: str) -> str:
        """Return a name without a folder: a step may be saved again, and the first save must stay until then."""
        free, number = name, 2
        while (self.folder / free).exists():
            free, number = f"{name}-{number}", number + 1
        return free

    def _prune(self, keep: set[str]) -> None:
        for child in self.folder.iterdir():
            stale = child.name.startswith("epoch-") and child.name not in keep
            if child.is_dir() and (stale or child.name.startswith(".epoch-")):
                shutil.rmtree(child, ignore_errors=True)
            elif child.name.startswith(".index.json.tmp-"):
                child.unlink(missing_ok=True)


def read_snapshot(folder: Path) -> Snapshot:
    """Read one checkpoint folder and check every file against its manifest.

    Raises:
        CheckpointError: a file is missing, damaged or of a newer format; names the file.
    """
    from safetensors.numpy import load

    manifest = _json(folder / "manifest.json")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder} has format {manifest.get('format')!r}; this expkit reads format {FORMAT}.")
    contents = {}
    for name in FILES:
        try:
            size, digest = int(manifest["files"][name]["bytes"]), str(manifest["files"][name]["sha256"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / 'manifest.json'} is damaged: no facts about {name}.") from error
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise CheckpointError(
                f"{folder / name} is damaged: it has {len(contents[name]):,} bytes and is not what was written "
                f"({size:,} bytes, SHA-256 {digest[:12]}...)."
            )
    state = json.loads(contents["state.json"])
    learner = LearnerState(
        load(contents["model.safetensors"]), load(contents["optimizer.safetensors"]), state["learner"]
    )
    return Snapshot(
        learner,
        progress=state["progress"],
        callbacks=state["callbacks"],
        random=state["random"],
        meters=state.get("meters", {}),
        run=state.get("run", {}),
    )


def _write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    from safetensors.numpy import save

    learner = snapshot.learner
    for name, kept in snapshot.callbacks.items():
        try:
            json.dumps(kept)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the state of callback {name!r} is no plain JSON: {error}.") from error
    state = {
        "progress": snapshot.progress,
        "learner": dict(learner.extra),
        "callbacks": snapshot.callbacks,
        "random": snapshot.random,
        "meters": snapshot.meters,
        "run": snapshot.run,
    }
    contents = {
        "model.safetensors": save({k: np.asarray(v, order="C") for k, v in learner.model.items()}),
        "optimizer.safetensors": save({k: np.asarray(v, order="C") for k, v in learner.optimizer.items()}),
        "state.json": json.dumps(state).encode(),
    }
    files = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in contents.items()}
    contents["manifest.json"] = json.dumps({"format": FORMAT, "files": files}, indent=2).encode()
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _write_text(path: Path, text: str) -> None:
    """Write a small file in one step: it holds the old text or the new, never a part."""
    unfinished = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds a {type(content).__name__}, not an object.")
    return content
