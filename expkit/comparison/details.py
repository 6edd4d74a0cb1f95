"""All that is known of one run: by its folder, by the tracking store, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from expkit.comparison.filters import is_called
from expkit.comparison.run import Run, of_folder, of_store
from expkit.errors import ExpkitError, RunNotFoundError, TrackingError
from expkit.record_files import HAPPENED, MADE
from expkit.report import quote_path
from expkit.reproduction.recorded import Recorded, read_recorded
from expkit.runs import best_name, find_run, read_record
from expkit.tracking import masked
from expkit.tracking.passwords import with_password
from expkit.tracking.query import RunQuery, open_query, sent_to
from expkit.tracking.reading import open_reader
from expkit.tracking.tracked_run import TrackedRun


@dataclass(frozen=True)
class Details:
    """All that is known of one run.

    Attributes:
        run: as it is among others.
        recorded: what its files say; None where there are none, or not enough of them.
        record: `run.json`; empty where it is not known.
        here: whether its folder is here.
        origin: where this comes from, for people.
        uri: of the store that has it, without a password; empty where none was asked or none has it.
        page: the address of its page there, as `RunQuery.page` gives it.
    """

    run: Run
    recorded: Recorded | None
    record: Mapping[str, Any]
    here: bool
    origin: str
    uri: str = ""
    page: str = ""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions and machine: of its files, else as far as the store has tags of them."""
        if self.recorded is not None:
            return self.recorded.environment
        tags = self.run.tags
        versions = {key[8:]: value for key, value in tags.items() if key.startswith("version.")}
        git: dict[str, Any] = {key[4:]: value for key, value in tags.items() if key.startswith("git.")}
        if "dirty" in git:
            git["dirty"] = git["dirty"] == "True"
        return {"device": tags.get("device"), "versions": versions, "git": git}

    @property
    def result(self) -> dict[str, float]:
        """Metrics of the best weights, or of the best epoch so far: {"valid/accuracy": 0.97, ...}."""
        if self.record.get("metrics"):
            return dict(self.record["metrics"])
        epoch = None if self.recorded is None else self.recorded.epochs.get(self.best_epoch or 0)
        if epoch:
            return dict(epoch)
        found = self.run.metrics
        best = {f"valid/{name[11:]}": value for name, value in found.items() if name.startswith("valid/best_")}
        best.pop("valid/epoch", None)
        others = {name: value for name, value in found.items() if name.startswith(("test/", "train/"))}
        if not best and not others:  # a run that others made
            return {name if "/" in name else f"last/{name}": value for name, value in found.items()}
        return {**{name: others[name] for name in others if name.startswith("train/")}, **best, **others}

    @property
    def best_epoch(self) -> int | None:
        """The epoch of these weights, from 1."""
        best = self.record.get("best_epoch", self.run.metrics.get(best_name("valid/epoch")))
        return None if best is None else int(best)


def find(reference: str, *, runs_dir: Path, uri: str | None, scratch: Path) -> Details:
    """Return all that is known of the run that a user means.

    Args:
        reference: a folder, a run's id (or its last part), an MLflow run id, or "last".
        runs_dir: where runs are; its mlflow.db is asked, too.
        uri: of the store to ask in place of the folders; None where the user names none.
        scratch: an empty folder for what the store holds.

    Raises:
        RunNotFoundError: there is no such run, or more than one.
        TrackingError: the store that the user names does not answer.
    """
    if uri is None or Path(reference).is_dir():
        try:
            return _of_folder(find_run(reference, runs_dir), runs_dir, uri)
        except RunNotFoundError as no_folder:
            query = open_query(uri, runs_dir)
            if query is None or Path(reference).is_dir():
                raise
            try:
                return _of_store(query, _tracked(query, reference), runs_dir, scratch)
            except RunNotFoundError as error:
                raise RunNotFoundError(f"{no_folder} Nor is there one in MLflow: {error}") from error
    query = open_query(uri, runs_dir)
    if query is None:
        raise TrackingError(f"there is no tracking store {masked(uri)}.")
    return _of_store(query, _tracked(query, reference), runs_dir, scratch)


def _of_folder(folder: Path, runs_dir: Path, uri: str | None) -> Details:
    try:
        recorded = read_recorded(folder)
    except RunNotFoundError:
        recorded = None
    record = read_record(folder)
    run = of_folder(folder, datetime.now(timezone.utc))
    details = Details(run, recorded, record, True, f"the folder {quote_path(folder)}")
    store, stored = sent_to(folder)
    stored = stored or run.mlflow_run_id
    if not stored:
        return details
    run = replace(run, mlflow_run_id=stored)
    try:  # it is shown without, where the store has gone
        query = open_query(uri or (with_password(store) if store else None), runs_dir)
        tracked = None if query is None else query.run(stored)
    except ExpkitError:
        query = tracked = None
    if query is None or tracked is None:
        return replace(details, run=run, uri=store or "")
    run = replace(run, name=tracked.name, experiment=tracked.experiment, mlflow_experiment_id=tracked.experiment_id)
    run = replace(run, metrics={**tracked.metrics, **run.metrics}, tags={**tracked.tags, **run.tags})
    page = query.page(tracked.experiment_id, tracked.id)
    return replace(details, run=run, uri=masked(query.uri), page=page)


def _of_store(query: RunQuery, tracked: TrackedRun, runs_dir: Path, scratch: Path) -> Details:
    run = of_store(tracked, datetime.now(timezone.utc))
    if run.folder is not None and (run.folder / "run.json").is_file():
        return _of_folder(run.folder, runs_dir, query.uri)
    origin = f"MLflow run {tracked.id} in {masked(query.uri)}"
    recorded, record = None, {}
    try:  # runs that others made have no such files
        open_reader(query.uri, runs_dir).download(tracked.id, (MADE, HAPPENED), scratch)
        record = read_record(scratch)
        recorded = read_recorded(scratch, origin)
    except ExpkitError:
        pass
    page = query.page(tracked.experiment_id, tracked.id)
    return Details(run, recorded, record, False, origin, masked(query.uri), page)


def _tracked(query: RunQuery, reference: str) -> TrackedRun:
    now = datetime.now(timezone.utc)
    runs = query.runs(query.experiments())
    if reference == "last" and runs:
        return runs[0]
    fitting = [tracked for tracked in runs if is_called(of_store(tracked, now), reference)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(f"{of_store(one, now).id} ({one.id})" for one in fitting[:4])
        raise RunNotFoundError(f"{reference!r} fits {len(fitting)} runs: {names}. Give one of these MLflow run ids.")
    raise RunNotFoundError(
        f"no run {reference!r} in the tracking store {masked(query.uri)}. `python -m expkit runs` lists them."
    )
