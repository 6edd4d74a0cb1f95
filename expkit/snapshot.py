"""One checkpoint: what it holds, and how it becomes files.

A checkpoint is a folder with

    model.safetensors      parameters and buffers by structured name
    optimizer.safetensors  accumulators by "<parameter>/<slot>"
    state.json             the rest: schedule, progress, callbacks, meters, random state, which run it is of
    manifest.json          SHA-256 and size of each of these

No file is unpickled, so loading runs no code. Neither way takes memory for a second copy of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import LearnerState
from expkit.errors import CheckpointError
from expkit.files import sync_file, sync_folder
from expkit.spec import Array
from expkit.tensor_file import read_tensors, write_tensors

FORMAT = 1
MANIFEST = "manifest.json"
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
        run: which run it is of ("id", "mlflow_run_id", "config_hash", "data_fingerprint"), what was monitored
            ("monitored") and what the tracking store had not taken yet ("pending"); empty as above.
    """

    learner: LearnerState
    progress: dict[str, Any]
    callbacks: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)
    meters: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


def read_snapshot(folder: Path) -> Snapshot:
    """Read one checkpoint folder and check every file against its manifest.

    Raises:
        CheckpointError: a file is missing, damaged or of a newer format; names the file.
    """
    manifest = read_json(folder / MANIFEST)
    if "format" not in manifest:
        raise CheckpointError(f"{folder / MANIFEST} is damaged: it does not say which format it is of.")
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{folder} has format {manifest['format']!r}; this expkit reads format {FORMAT}.")
    contents = {name: _checked(folder, name, manifest) for name in FILES}
    try:
        state = json.loads(contents["state.json"].tobytes())
        model, optimizer = (read_tensors(contents[name]) for name in FILES[:2])
        learner = LearnerState(model, optimizer, state["learner"])
        return Snapshot(
            learner,
            progress=state["progress"],
            callbacks=state["callbacks"],
            random=state["random"],
            meters=state.get("meters", {}),
            run=state.get("run", {}),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{folder} is damaged: its files are whole, but no checkpoint ({why}).") from error


def write_snapshot(folder: Path, snapshot: Snapshot, *, sync: bool = True) -> None:
    """Write the files of a checkpoint.

    Args:
        folder: is there, and empty, or holds the files of another one, which are written over.
        snapshot: what they hold.
        sync: to the disk and not only to the system's cache.

    Raises:
        CheckpointError: the state of a callback is no plain JSON, or an array has a dtype that cannot be kept.
        OSError: a file cannot be written.
    """
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
    model, optimizer, rest, manifest = (_Written(folder / name) for name in (*FILES, MANIFEST))
    with model:
        write_tensors(model, learner.model)
    with optimizer:
        write_tensors(optimizer, learner.optimizer)
    with rest:
        rest.write(json.dumps(state).encode())
    files = dict(zip(FILES, (model.facts(), optimizer.facts(), rest.facts()), strict=True))
    with manifest:
        manifest.write(json.dumps({"format": FORMAT, "files": files}, indent=2).encode())
    if sync:
        sync_snapshot(folder)


def sync_snapshot(folder: Path) -> None:
    """Force the files of a checkpoint to the disk.

    Raises:
        OSError: one cannot be.
    """
    for name in (*FILES, MANIFEST):
        sync_file(folder / name)
    sync_folder(folder)


class _Written:
    """A file that is being written, over another one if there is one, and what the manifest says of it."""

    def __init__(self, path: Path) -> None:
        self._path, self._bytes, self._digest = path, 0, hashlib.sha256()

    def __enter__(self) -> None:
        # To empty a file first makes some file systems write it out when it is closed.
        self._file = open(self._path, "wb", opener=lambda path, flags: os.open(path, flags & ~os.O_TRUNC, 0o666))

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.truncate()

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def facts(self) -> dict[str, int | str]:
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        CheckpointError: it cannot be read, or holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds a {type(content).__name__}, not an object.")
    return content


def _checked(folder: Path, name: str, manifest: dict[str, Any]) -> Array:
    """Read a file that has to be what the manifest says."""
    try:
        size, digest = int(manifest["files"][name]["bytes"]), str(manifest["files"][name]["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is damaged: no facts about {name}.") from error
    try:
        content: Array = np.fromfile(folder / name, np.uint8)
    except OSError as error:
        raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content.data).hexdigest() != digest:
        raise CheckpointError(
            f"{folder / name} is damaged: it has {len(content):,} bytes and is not what was written "
            f"({size:,} bytes, SHA-256 {digest[:12]}...)."
        )
    return content
