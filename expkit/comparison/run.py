"""One run among others: what a store or its folder knows of it, in the same words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from expkit.callbacks import read_epochs
from expkit.errors import RunNotFoundError
from expkit.identity import flat
from expkit.lock import holder_is_elsewhere, is_locked
from expkit.report import quote_path
from expkit.runs import RECORD, best_name, read_record, run_id, seconds_of
from expkit.tracking import masked
from expkit.tracking.query import sent_to
from expkit.tracking.tags import IDENTITY, REASON, RUN_FOLDER
from expkit.tracking.text import as_text, clean_key
from expkit.tracking.tracked_run import TrackedRun
from expkit.trainer import Monitor

DIED = "DIED"
"""Status of a run whose process ended before it could write down how."""
STATUSES = ("FINISHED", "RUNNING", "FAILED", "KILLED", "PAUSED", DIED, "SCHEDULED")
DONE = "FINISHED"
SEED = "seed"
_DEATH = "its process died"
"""So begins the reason of a run that others closed in its stead."""

_CHANGED, _TO = "changed.", " -> "
"""MLflow lets no parameter change: what a resumed run has otherwise is in tags, changed.trainer.epochs "60 -> 14"."""
_SPELLED = {"True": "true", "False": "false", "None": "null"}
"""Older runs have these as Python writes them."""
_NOT_PARAMETERS = ("runs_dir", "tracking", "plots", "sweep")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # twenty times faster, where PyYAML has it


@dataclass(frozen=True)
class Run:
    """One run among others.

    Attributes:
        id: as run folders are called, "20261123-120000-ab12cd"; MLflow's where it was not made by expkit.
        experiment: that it belongs to.
        name: in MLflow's tables; empty where it is not there.
        status: one of `STATUSES`: the true one, as far as can be seen from here.
        reason: why it did not finish, in words.
        started: when.
        seconds: it took, or has taken so far; None where nobody knows.
        params: every choice and option, as text; of a resumed run those that it went on with.
        metrics: as a store names them: "valid/best_accuracy" of the best weights, "valid/accuracy" of the last epoch.
        tags: further facts.
        folder: of the run; it need not be here. None where there never was one.
        mlflow_run_id: empty where it is in no store.
        mlflow_experiment_id: the same; empty, too, where it is in a store that was not asked.
        store: that it was sent to, where only its folder was asked; empty where that is unknown, or in none.
        monitor: what said which epoch is best; None where that is not known.
    """

    id: str
    experiment: str
    name: str
    status: str
    reason: str
    started: datetime | None
    seconds: float | None
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)
    folder: Path | None
    mlflow_run_id: str = ""
    mlflow_experiment_id: str = ""
    monitor: Monitor | None = None
    store: str = ""

    @property
    def short_id(self) -> str:
        """The last part of its id, by which every verb finds it: "ab12cd", or "ab12cd.3" of a sweep's job."""
        return self.id.rpartition("-")[2] if self.id != self.mlflow_run_id else self.id[:8]

    @property
    def main_metric(self) -> str:
        """Name of the metric that says how good it is; empty where that is not known."""
        return best_name(self.monitor.name) if self.monitor is not None else ""

    @property
    def typed(self) -> list[str]:
        """Names of what was typed to start it, or to go on otherwise."""
        try:
            words = shlex.split(self.tags.get("command", ""))
        except ValueError:
            words = []
        return [*(word.partition("=")[0].lstrip("+~") for word in words if "=" in word), *_changes(self.tags)]

    @property
    def code(self) -> str:
        """Its git commit, with a hash of what was not committed; empty where that is not recorded."""
        changes = self.tags.get("git.changes", "")
        return self.tags.get("git.commit", "")[:8] + (f"+{changes[:8]}" if changes else "")


def of_store(tracked: TrackedRun, now: datetime) -> Run:
    """Return what a store knows of a run; its folder is asked where the store cannot know how it ended.

    Args:
        tracked: what the store has.
        now: the time of day.
    """
    tags = tracked.tags
    folder = Path(tags[RUN_FOLDER]) if tags.get(RUN_FOLDER) else None
    status, reason = _true_status(tracked.status, tags.get(REASON, ""), folder)
    started = datetime.fromtimestamp(tracked.started / 1000, timezone.utc) if tracked.started else None
    seconds = None if tracked.ended is None else max(0.0, (tracked.ended - tracked.started) / 1000)
    if status == "RUNNING" and started is not None:
        seconds = (now - started).total_seconds()
    metrics, monitor = tracked.metrics, _monitor(tracked.params, tags)
    if status != "FINISHED" and folder is not None and monitor is not None:
        metrics = {**_best_so_far(folder, monitor), **metrics}
    return Run(
        id=tags.get(IDENTITY) or (tracked.id if folder is None else run_id(folder)),
        experiment=tracked.experiment,
        name=tracked.name,
        status=status,
        reason=reason,
        started=started,
        seconds=seconds,
        params={**tracked.params, **_changes(tags)},
        metrics=metrics,
        tags=tags,
        folder=folder,
        mlflow_run_id=tracked.id,
        mlflow_experiment_id=tracked.experiment_id,
        monitor=monitor,
    )


def of_folder(folder: Path, now: datetime) -> Run:
    """Return what the folder of a run knows of it, for one that is in no store.

    Args:
        folder: of the run.
        now: the time of day.

    Raises:
        RunNotFoundError: the folder is none, or damaged.
    """
    record = read_record(folder)
    status, reason = _true_status("RUNNING", "", folder)
    monitor = _recorded_monitor(record)
    metrics = {best_name(name): float(value) for name, value in record.get("metrics", {}).items()}
    if "best_epoch" in record:
        metrics["valid/best_epoch"] = float(record["best_epoch"])
    params = _parameters(folder, record)
    monitor = monitor or _monitor(params, {})
    if not metrics and monitor is not None:
        metrics = _best_so_far(folder, monitor)
    store, stored = sent_to(folder)
    started = _time(record.get("started"))
    seconds = seconds_of(record) if status != "RUNNING" else None
    if status == "RUNNING" and started is not None:
        seconds = (now - started).total_seconds()
    return Run(
        id=str(record.get("id") or run_id(folder)),
        experiment=str(record.get("name", "")),
        name="",
        status=status,
        reason=reason,
        started=started,
        seconds=seconds,
        params=params,
        metrics=metrics,
        tags=_tags(folder, record),
        folder=folder.absolute(),
        mlflow_run_id=stored or str(record.get("mlflow_run_id") or ""),
        monitor=monitor,
        store=store or "",
    )


def _changes(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the options that a run was resumed with and did not begin with."""
    found = {key.removeprefix(_CHANGED): text for key, text in tags.items() if key.startswith(_CHANGED) and _TO in text}
    values = {key: text.rpartition(_TO)[2] for key, text in found.items()}
    return {key: _SPELLED.get(value, value) for key, value in values.items()}


def _true_status(told: str, reason: str, folder: Path | None) -> tuple[str, str]:
    """Say how a run ended: a store knows neither of a process that died, nor of a pause."""
    if told == "FAILED" and reason.startswith(_DEATH):
        return DIED, reason
    if folder is None or told not in ("RUNNING", "KILLED"):
        return told, reason
    works = is_locked(folder) or holder_is_elsewhere(folder)  # first: a run lets go after it has written its end
    try:
        record = read_record(folder)
    except RunNotFoundError:
        return told, reason or ("its folder is not here" if told == "RUNNING" else "")
    status = str(record.get("status", told))
    if told == "KILLED":
        return ("PAUSED" if status == "PAUSED" else told), reason
    if status == "RUNNING" and not works:
        return DIED, f"{_DEATH}; go on with it: python -m expkit resume {quote_path(folder)}"
    return status, str(record.get("reason") or reason)


def _monitor(params: Mapping[str, str], tags: Mapping[str, str]) -> Monitor | None:
    """Return the monitored metric of a run, if it is recorded; by an older expkit it was not, but can be told."""
    from expkit.comparison.direction import of_registry

    if "monitor" in tags:
        name, _, mode = tags["monitor"].partition(" ")
        return Monitor(name, mode != "(min)")
    wanted, mode = params.get("checkpoint.monitor"), params.get("checkpoint.mode", "auto")
    if wanted is None:
        return None
    name = f"valid/{params.get('metrics', '').split(',')[0] or 'loss'}" if wanted == "auto" else wanted
    higher = of_registry(name.partition("/")[2]) if mode == "auto" else mode == "max"
    return None if higher is None else Monitor(name, higher)


def _recorded_monitor(record: Mapping[str, Any]) -> Monitor | None:
    monitor = record.get("monitor") or {}
    return Monitor(monitor["name"], bool(monitor["higher_is_better"])) if "name" in monitor else None


def _best_so_far(folder: Path, monitor: Monitor) -> dict[str, float]:
    """Return the metrics of the best epoch of a run that is not done."""
    try:
        epochs = read_epochs(folder)
    except (OSError, RunNotFoundError):
        return {}
    best: Mapping[str, float] = {}
    for epoch in epochs:
        if monitor.name in epoch and monitor.improves(epoch[monitor.name], best.get(monitor.name)):
            best = epoch
    found = {best_name(name): value for name, value in best.items() if name.startswith("valid/")}
    return {**found, "valid/best_epoch": float(best["epoch"])} if best else {}


def _parameters(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a store would have of a run's choices and options."""
    try:
        tree = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), _LOADER)
        kept = {key: value for key, value in tree.items() if key not in _NOT_PARAMETERS}
    except (OSError, AttributeError, yaml.YAMLError):
        kept = {SEED: record[SEED]} if SEED in record else {}
    options = {key: value for key, value in flat(kept).items() if not key.endswith("_target_")}
    return {clean_key(key): masked(as_text(value)) for key, value in {**options, **record.get("choices", {})}.items()}


def _tags(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return those tags of a store that are told here, too."""
    data = record.get("data", {})
    source = data.get("source", {})
    found = {"data.name": data.get("name"), "data.fingerprint": data.get("fingerprint")}
    found |= {"data.stand_in_for": source.get("stand_in_for"), "reproduces": record.get("reproduces")}
    try:
        overrides = yaml.load((folder / "overrides.yaml").read_text(encoding="utf-8"), _LOADER) or []
        found["command"] = shlex.join(["python", "-m", "expkit", *map(str, overrides)])
        git = json.loads((folder / "environment.json").read_text(encoding="utf-8")).get("git") or {}
        found |= {f"git.{key}": git[key] for key in ("commit", "branch", "dirty", "changes") if key in git}
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
        pass  # a damaged folder is shown as far as it can be read
    if folder.name.isdigit() and folder.parent.name.startswith("sweep-"):
        found |= {"sweep": folder.parent.name.rpartition("-")[2], "sweep.job": folder.name}
    return {key: str(value) for key, value in found.items() if value}


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def has_folder(run: Run) -> bool:
    """Whether the folder of a run is here."""
    return run.folder is not None and (run.folder / RECORD).is_file()
