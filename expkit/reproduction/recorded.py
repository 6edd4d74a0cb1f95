"""All that is recorded of a run: read from its folder, or from the tracking store when the folder is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expkit import config
from expkit.callbacks import STEPS, read_epochs, read_steps
from expkit.errors import ExpkitError, NotFiniteError, RunNotFoundError, TrackingError, TrainingStoppedError
from expkit.record_files import HAPPENED, MADE, UNTRACKED
from expkit.report import quote_path
from expkit.runs import find_run, read_record
from expkit.tracking import masked
from expkit.tracking.reading import Reader, StoredRun, open_reader

Values = Mapping[int, Mapping[str, float]]
"""Metrics by step or epoch: {1: {"loss": 2.3}}."""


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a run.

    Attributes:
        folder: where its files lie: the run folder, or a copy of what the store holds.
        origin: where they come from, for people.
        record: `run.json`.
        options: the resolved config.
        environment: versions, machine, git.
        diff: how the code differed from the commit.
        untracked: code that was not committed, by path.
        steps: loss and learning rate of each step.
        epochs: metrics of each epoch.
        sampled: whether `steps` may have gaps, because they come from the points of the store.
    """

    folder: Path
    origin: str
    record: Mapping[str, Any]
    options: Mapping[str, Any]
    environment: Mapping[str, Any]
    diff: str
    untracked: Mapping[str, str] = field(repr=False)
    steps: Values = field(repr=False)
    epochs: Values = field(repr=False)
    sampled: bool = False

    @property
    def id(self) -> str:
        """Its id, as `runs` names it."""
        return str(self.record["id"])

    @property
    def mlflow_run_id(self) -> str:
        """Its id in the tracking store; empty when it was not tracked."""
        return str(self.record.get("mlflow_run_id") or "")

    @property
    def status(self) -> str:
        """How it ended: "FINISHED", "FAILED", "KILLED", "PAUSED"; "RUNNING" where nothing was written at its end."""
        return str(self.record["status"])

    @property
    def stopped_by_itself(self) -> bool:
        """Whether it ended because of what it computed: it was done, or something was not finite."""
        causes = (TrainingStoppedError.__name__, NotFiniteError.__name__)
        return self.status == "FINISHED" or str(self.record.get("reason", "")).startswith(causes)

    @property
    def git(self) -> Mapping[str, Any]:
        """What is known of its code; empty when it was not started in a git checkout."""
        return dict(self.environment.get("git") or {})

    @property
    def last_step(self) -> int:
        """The last step that is recorded; 0 when there is none."""
        return max(self.steps, default=0)


def find_recorded(reference: str, runs_dir: Path, uri: str | None, scratch: Path) -> Recorded:
    """Return the record of the run that a user means.

    Args:
        reference: a folder, a run's id (or its last part), an MLflow run id, or "last".
        runs_dir: where runs are; its mlflow.db is asked when no folder there is the run's.
        uri: of the store to ask in place of the folders; None where the user names none.
        scratch: an empty folder for what the store holds.

    Raises:
        RunNotFoundError: there is no such run, or its record is not enough to do it again.
        TrackingError: the store does not answer.
    """
    if uri is not None and not Path(reference).is_dir():
        reader = open_reader(uri, runs_dir)
        return read_stored(reader, reader.find(reference), scratch)
    try:
        folder = find_run(reference, runs_dir)
    except RunNotFoundError as no_folder:
        return _from_default_store(reference, runs_dir, scratch, no_folder)
    try:
        found = read_recorded(folder)
        _check_whole(found)
        return found
    except RunNotFoundError as damaged:
        stored = _readable_id(folder)
        if not stored:
            raise
        return _from_default_store(stored, runs_dir, scratch, damaged)


def read_recorded(folder: Path, origin: str = "") -> Recorded:
    """Read a run folder.

    Args:
        folder: of the run.
        origin: for people; the folder by default.

    Raises:
        RunNotFoundError: a file that is needed is missing or damaged.
    """
    record = read_record(folder)
    try:
        options = config.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        missing = [key for key in ("id", "status", "data", "choices") if key not in record]
        if missing or not isinstance(options, dict) or not isinstance(environment, dict):
            raise ValueError(f"run.json has no {', '.join(missing)}" if missing else "a file holds something else")
    except (OSError, ValueError) as error:
        raise RunNotFoundError(f"{folder} does not say how its run was made: {error}.") from error
    patch = folder / "git.diff"
    return Recorded(
        folder=folder,
        origin=origin or f"the folder {quote_path(folder)}",
        record=record,
        options=options,
        environment=environment,
        diff=_text(patch) if patch.is_file() else "",
        untracked={
            path.relative_to(folder / UNTRACKED).as_posix(): _text(path)
            for path in sorted((folder / UNTRACKED).rglob("*"))
            if path.is_file()
        },
        steps={step: {"loss": loss, "learning_rate": rate} for step, loss, rate in read_steps(folder)},
        epochs={int(known["epoch"]): _measured(known) for known in read_epochs(folder)},
    )


def read_stored(reader: Reader, run: StoredRun, into: Path) -> Recorded:
    """Read what a tracking store holds of a run.

    Raises:
        RunNotFoundError: that is not enough to do it again.
        TrackingError: the store does not answer.
    """
    reader.download(run.id, (MADE, HAPPENED), into)
    origin = f"MLflow run {run.id} in {masked(reader.uri)}"
    try:
        found = read_recorded(into, origin)
    except RunNotFoundError as error:
        raise RunNotFoundError(
            f"the {origin} does not hold what is needed to do it again ({error}) and its folder {run.folder} is not "
            "where you look. An expkit that did not store this yet may have made it."
        ) from error
    if (into / STEPS).is_file():
        _check_whole(found)
        return found
    # It was killed before its files were stored; its points are there.
    return replace(found, steps=_steps(reader, run.id), epochs=_epochs(reader, run.id), sampled=True)


def _check_whole(found: Recorded) -> None:
    """Refuse a record with too few steps or epochs: an equality with nothing would prove nothing.

    Raises:
        RunNotFoundError: steps or epochs of a run that is done were cut off or lost.
    """
    epochs = int(found.record.get("epochs") or 0)
    if found.status != "FINISHED" or not epochs:
        return
    wanted = found.last_step if found.record.get("stopped") else epochs * int(found.record.get("steps_per_epoch") or 0)
    skips = (found.options.get("trainer") or {}).get("on_nonfinite") == "skip"  # a batch that is left out has no loss
    if len(found.epochs) < epochs or not found.steps or (len(found.steps) < wanted and not skips):
        raise RunNotFoundError(
            f"the record of {found.id} is not whole: it has {len(found.steps)} of {wanted} steps and "
            f"{len(found.epochs)} of {epochs} epochs. steps.csv or history.json was cut or lost; there is too little "
            "to compare with."
        )


def _steps(reader: Reader, run_id: str) -> dict[int, dict[str, float]]:
    found = reader.metrics(run_id, "step/")
    return _by_step({name: found.get(f"step/{name}", {}) for name in ("loss", "learning_rate")})


def _epochs(reader: Reader, run_id: str) -> dict[int, dict[str, float]]:
    found = {**reader.metrics(run_id, "train/"), **reader.metrics(run_id, "valid/")}
    return _by_step({name: values for name, values in found.items() if not name.startswith("valid/best_")})


def _by_step(metrics: Mapping[str, Mapping[int, float]]) -> dict[int, dict[str, float]]:
    turned: dict[int, dict[str, float]] = {}
    for name, values in metrics.items():
        for step, value in values.items():
            turned.setdefault(step, {})[name] = value
    return dict(sorted(turned.items()))


def _from_default_store(reference: str, runs_dir: Path, scratch: Path, why: ExpkitError) -> Recorded:
    """Ask the store beside the runs; where there is none, or no such run in it, the first reason stands."""
    try:
        reader = open_reader(None, runs_dir)
        run = reader.find(reference)
    except TrackingError:
        raise why from None
    except RunNotFoundError as error:
        raise RunNotFoundError(f"{why} Nor is there one in MLflow: {error}") from error
    return read_stored(reader, run, scratch)


def _readable_id(folder: Path) -> str:
    try:
        return str(read_record(folder).get("mlflow_run_id") or "")
    except RunNotFoundError:
        return ""


def _measured(epoch: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name not in ("epoch", "seconds")}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")
