"""Capsules: a step that made NaN or infinity, kept so that it can be run again without the data and without the run.

A capsule is a folder `capsules/step-00000123/` of a run with

    report.txt             what happened and where, for people
    capsule.json           the same for programs: step, loss, origin, the range of each layer's numbers
    batch.safetensors      inputs and targets, as the model got them
    state/                 a checkpoint: the learner and the random state before the step
    run.json, config.yaml, overrides.yaml   how the learner is built

Nothing in it is unpickled or executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.diagnosis import Diagnosis
from expkit.errors import CheckpointError
from expkit.files import sync_folder
from expkit.inspection import Origin, Row, trouble_table
from expkit.snapshot import Snapshot, read_json, read_snapshot, write_snapshot
from expkit.tensor_file import read_tensors, write_tensors

FORMAT = 1
REPORT = "report.txt"
_FACTS, _BATCH, _STATE = "capsule.json", "batch.safetensors", "state"
_OF_RUN = ("run.json", "config.yaml", "overrides.yaml")


@dataclass(frozen=True)
class Capsule:
    """What is kept of a step.

    Attributes:
        found: what was not finite, in words: "the loss is nan".
        kind: of it: "loss", "gradient", "weight" or "validation".
        place: where in training, in words.
        exact: whether the state is that from before the step.
        steps_per_epoch: of the run, for schedules.
        inputs: normalised [N, *shape].
        targets: [N] int64 or [N, K].
        snapshot: the state before the step.
        diagnosis: where it comes from.
    """

    found: str
    kind: str
    place: str
    exact: bool
    steps_per_epoch: int
    inputs: Array
    targets: Array
    snapshot: Snapshot
    diagnosis: Diagnosis

    @property
    def report(self) -> str:
        """The whole in words."""
        state = "before" if self.exact else "AFTER"
        return (
            f"{self.found} {self.place}\n\n{self.diagnosis.origin.text}\n\n{trouble_table(self.diagnosis.rows)}\n\n"
            f"The state in this folder is that from {state} the step.\n"
        )


def write_capsule(folder: Path, run: Path, capsule: Capsule) -> None:
    """Write a capsule in one step; one of the same name is replaced.

    Args:
        folder: to be.
        run: the run folder, whose config goes with it.
        capsule: what to keep.

    Raises:
        CheckpointError: the batch is of a dtype that cannot be kept.
        OSError: it cannot be written; nothing of it is left then.
    """
    batch = io.BytesIO()
    write_tensors(batch, {"inputs": capsule.inputs, "targets": capsule.targets})
    contents = {_BATCH: batch.getvalue(), **{name: (run / name).read_bytes() for name in _OF_RUN}}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    facts = {
        "format": FORMAT,
        **{name: getattr(capsule, name) for name in ("found", "kind", "place", "exact", "steps_per_epoch")},
        "origin": asdict(capsule.diagnosis.origin),
        "rows": [asdict(row) for row in capsule.diagnosis.rows],
        "sha256": digests,
    }
    contents[_FACTS] = json.dumps(facts, indent=1).encode()
    contents[REPORT] = capsule.report.encode()
    unfinished = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / _STATE).mkdir(parents=True)
        write_snapshot(unfinished / _STATE, capsule.snapshot)
        for name, content in contents.items():
            (unfinished / name).write_bytes(content)
        sync_folder(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_capsule(folder: Path) -> Capsule:
    """Read a capsule and check its files.

    Raises:
        CheckpointError: the folder is none, or a file in it is missing or damaged; names the file.
    """
    if not (folder / _FACTS).is_file():
        raise CheckpointError(f"{folder} is no capsule: there is no {_FACTS} in it. Capsules are in RUN/capsules/.")
    facts = read_json(folder / _FACTS)
    if facts.get("format") != FORMAT:
        raise CheckpointError(f"{folder} has format {facts.get('format')!r}; this expkit reads format {FORMAT}.")
    try:
        batch = read_tensors(np.frombuffer(bytearray(_checked(folder, facts["sha256"])[_BATCH]), np.uint8))
        diagnosis = Diagnosis(Origin(**facts["origin"]), [Row(**row) for row in facts["rows"]])
        kept = {name: facts[name] for name in ("found", "kind", "place", "exact", "steps_per_epoch")}
        inputs, targets = batch["inputs"], batch["targets"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _FACTS} is damaged: {error}.") from error
    return Capsule(**kept, inputs=inputs, targets=targets, snapshot=read_snapshot(folder / _STATE), diagnosis=diagnosis)


def _checked(folder: Path, digests: Mapping[str, Any]) -> dict[str, bytes]:
    contents = {}
    for name in (_BATCH, *_OF_RUN):
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(contents[name]).hexdigest() != digests[name]:
            raise CheckpointError(f"{folder / name} is damaged: it is not what was written with the capsule.")
    return contents
