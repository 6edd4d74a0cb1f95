"""The results of a sweep side by side: what tells its jobs apart, and which is best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from expkit.errors import RunNotFoundError
from expkit.identity import flat, is_left_out
from expkit.runs import RECORD, monitored, read_record, seconds_of
from expkit.sweeping.jobs import FINISHED, PENDING, PRUNED, Job, Outcome
from expkit.sweeping.names import short_name
from expkit.tracking.text import as_text

"""Status of a job that was not begun."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # twenty times faster, where PyYAML has it
_ORDER = {FINISHED: 0, PRUNED: 1}


@dataclass(frozen=True)
class Entry:
    """What came of one job.

    Attributes:
        number: of the job in its sweep, as its folder is called.
        folder: its run folder.
        name: of its experiment.
        data: name of its data.
        status: "FINISHED", "FAILED", ... or "PENDING".
        reason: why it is not FINISHED, in words.
        parameters: by name, as text: those that not all jobs share; the typed ones first.
        typed: how many of them were typed, rather than brought along by what was.
        metrics: of its best weights.
        monitor: name and direction of the metric that says what is best.
        value: of this metric; None where there is none.
        seconds: it took.
        attempts: processes that were started for it.
        mlflow_run_id: of its run in the tracking store; empty where there is none.
        stand_in_for: the data that its data takes the place of; empty where it is what it is called.
    """

    number: str
    folder: Path
    name: str
    data: str
    status: str
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    typed: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    monitor: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    seconds: float | None = None
    attempts: int = 1
    mlflow_run_id: str = ""
    stand_in_for: str = ""

    @property
    def label(self) -> str:
        """What tells it from the others, also where it is cut: "3 · optimizer=adam lr=0.01"."""
        shown = [f"{key}={value}" for key, value in list(self.parameters.items())[: self.typed]]
        return f"{self.number} · {short_name(shown, {})}" if shown else f"job {self.number}"


def of_folders(folders: Sequence[Path]) -> list[Entry]:
    """Read what came of the jobs in these run folders, the best first where one metric ranks them all.

    Raises:
        RunNotFoundError: a folder is no run.
    """
    records = [read_record(folder) for folder in folders]
    entries = [_entry(*pair) for pair in zip(folders, records, strict=True)]
    configs = [_config(*pair) for pair in zip(folders, records, strict=True)]
    return ranked(_told_apart(entries, configs, [_overrides(folder) for folder in folders]))


def of_jobs(jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> list[Entry]:
    """Return what came of the jobs of a sweep, the best first where one metric ranks them all.

    Args:
        jobs: all of them.
        outcomes: by number, of those that have ended.
    """
    entries = []
    for job in jobs:
        outcome = outcomes.get(job.number)
        try:
            entry = replace(_entry(job.folder, read_record(job.folder)), number=str(job.number))
        except RunNotFoundError:  # it was not begun, or died before it could write
            entry = Entry(str(job.number), job.folder, "", "", PENDING)
        entries.append(entry if outcome is None else _ended(entry, outcome))
    configs = [{**flat(yaml.load(job.config, _LOADER)), **job.choices} for job in jobs]
    return ranked(_told_apart(entries, _without_idle(jobs, configs), [job.overrides for job in jobs]))


def _without_idle(jobs: Sequence[Job], configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leave out of each config the options that a search tries in other trials only.

    Some optimizers have a default for what others do not have: of either it is told that it was not tried.
    """
    tried = [typed_values(job.varies).keys() for job in jobs]
    every = {key for keys in tried for key in keys}
    return [
        {key: value for key, value in config.items() if key in keys or key not in every}
        for config, keys in zip(configs, tried, strict=True)
    ]


def rules(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Return name and direction of the metric that ranks all of the jobs; empty where there is none."""
    found = {(one.data or one.name, *sorted(one.monitor.items())): one.monitor for one in entries if one.monitor}
    return next(iter(found.values())) if len(found) == 1 else {}


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Sort entries: the best first, those without a result last; by their number where no metric ranks them all."""
    monitor = rules(entries)
    sign = -1 if monitor.get("higher_is_better") else 1

    def place(one: Entry) -> tuple[int, float, int]:
        value = math.nan if one.value is None or not monitor else one.value
        last = 2 if one.status == PENDING else 1
        state = _ORDER.get(one.status, 2 if one.metrics else 2 + last)
        return state, math.inf if math.isnan(value) else sign * value, int(one.number) if one.number.isdigit() else 0

    return sorted(entries, key=place)


def metric_names(entries: Sequence[Entry]) -> list[str]:
    """Return the names of the metrics but for those of training: first the one that ranks, then that of the test."""
    names = dict.fromkeys(name for one in entries for name in one.metrics if not name.startswith("train/"))
    first = str(rules(entries).get("name", ""))
    second = f"test/{first.partition('/')[2]}"
    return [*(name for name in (first, second) if name in names), *(n for n in names if n not in (first, second))]


def _entry(folder: Path, record: Mapping[str, Any]) -> Entry:
    monitor, metrics = record.get("monitor", {}), record.get("metrics", {})
    return Entry(
        number=folder.name,
        folder=folder,
        name=str(record.get("name", "")),
        data=str(record.get("data", {}).get("name", "")),
        status=str(record.get("status", "")),
        reason=str(record.get("reason", "")),
        metrics=metrics,
        monitor=monitor,
        value=monitored(record),
        seconds=seconds_of(record),
        mlflow_run_id=str(record.get("mlflow_run_id") or ""),
        stand_in_for=str(record.get("data", {}).get("source", {}).get("stand_in_for") or ""),
    )


def _ended(entry: Entry, outcome: Outcome) -> Entry:
    """The outcome knows of ends that a dead process could not write down."""
    return replace(
        entry,
        status=outcome.status,
        reason=outcome.reason,
        metrics=entry.metrics or outcome.metrics,
        value=outcome.value if entry.value is None else entry.value,
        seconds=outcome.seconds or entry.seconds,
        attempts=outcome.attempts,
    )


def _config(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return options and choices of a run by name, as it recorded them."""
    try:
        tree = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), _LOADER)
        return {**flat(tree), **record.get("choices", {})}
    except (OSError, AttributeError, yaml.YAMLError):  # what was typed is told from overrides.yaml
        return {}


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(one) for one in yaml.load((folder / "overrides.yaml").read_text(encoding="utf-8"), _LOADER) or []]
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise RunNotFoundError(f"{folder} does not say how its run was made: {error}.") from error


def _told_apart(
    entries: Sequence[Entry], configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]
) -> list[Entry]:
    """Add the parameters in which the entries differ."""
    typed = [typed_values(one) for one in overrides]
    texts = [
        {**by_hand, **{key: as_text(value) for key, value in config.items()}}
        for config, by_hand in zip(_all_or_none(configs), typed, strict=True)
    ]
    first, then = varying(texts, list(dict.fromkeys(key for one in typed for key in one)))
    return [
        replace(
            entry,
            parameters={key: values[key] for key in (*first, *then) if key in values},
            typed=sum(key in values for key in first),
        )
        for entry, values in zip(entries, texts, strict=True)
    ]


def _all_or_none(configs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One run without a readable config leaves only what was typed to compare all of them by."""
    return list(configs) if all(configs) else [{} for _ in configs]


def typed_values(overrides: Sequence[str]) -> dict[str, str]:
    """Return overrides by name: {"optimizer": "adam", "seed": "1"}."""
    return {key.lstrip("+~"): value for key, _, value in (one.partition("=") for one in overrides)}


def varying(texts: Sequence[Mapping[str, str]], typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of what varies: what was typed, and what differs with it.

    An option that only some jobs have differs where these do: that SGD has no beta1 is told by its name.

    Args:
        texts: the parameters of each run.
        typed: names of what was typed for any of them.
    """
    keys = dict.fromkeys(key for one in texts for key in one if not key.endswith("_target_"))
    first = [key for key in typed if len({one.get(key) for one in texts}) > 1]
    seen = {tuple(one.get(key) for one in texts) for key in first}
    then = []
    for key in keys:
        column = tuple(one.get(key) for one in texts)
        if key in first or column in seen or len(set(column) - {None}) < 2 or is_left_out(key):
            continue  # the second reason: an interpolation of another one
        seen.add(column)
        then.append(key)
    return first, then


def folders_of(sweep: Path) -> list[Path]:
    """Return the run folders of a sweep's jobs, by number."""
    return sorted((path.parent for path in sweep.glob(f"*/{RECORD}")), key=lambda job: job.name.zfill(9))
