"""The curves of runs: read from their folders, or from the store where these are not here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from expkit.callbacks import read_epochs
from expkit.comparison.compare import Comparison, metric_names
from expkit.comparison.grouping import Group
from expkit.comparison.run import DONE, Run, has_folder
from expkit.comparison.table import is_number
from expkit.errors import RunNotFoundError
from expkit.sweeping.names import short_name, status_word
from expkit.tracking.query import RunQuery

LOSSES = ("train/loss", "valid/loss")
MOST_PANELS = 4
_TELLING = {"data.name": "", "sweep": "sweep "}
"""Tags that may tell groups apart whose options do not, and what is written before them."""

Values = Mapping[int, float]
"""Of one metric, by epoch."""


@dataclass(frozen=True)
class Line:
    """The curves of a group.

    Attributes:
        label: what tells it from the others.
        runs: how many it is the mean of.
        curves: by metric: epoch, mean, and standard deviation (0 of a single run).
    """

    label: str
    runs: int
    curves: Mapping[str, list[tuple[int, float, float]]]


def lines_of(compared: Comparison) -> tuple[list[str], list[Line]]:
    """Return the metrics that are drawn, and the curves of each group that has any, in the order of the table.

    Raises:
        TrackingError: the store does not answer.
    """
    runs = [run for group in compared.groups for run in group.runs]
    metrics = _metrics(runs)
    values = _read(runs, metrics, compared.found.query)
    labels = _labels(compared)
    lines = []
    for group, label in zip(compared.groups, labels, strict=True):
        curves = {name: _mean([values[id(run)].get(name, {}) for run in group.runs]) for name in metrics}
        kept = {name: points for name, points in curves.items() if points}
        if kept:
            lines.append(Line(label, len(group.runs), kept))
    drawn: list[str] = []
    for name in metrics:  # a metric that is the loss itself would be drawn twice
        known = [line.curves.get(name) for line in lines]
        if any(known) and all([line.curves.get(other) for line in lines] != known for other in drawn):
            drawn.append(name)
    return drawn, lines


def title(compared: Comparison, lines: Sequence[Line]) -> str:
    """Say what a picture of curves shows."""
    found = compared.found
    runs = sum(line.runs for line in lines)
    shown = f"{', '.join(found.experiments[:4])}: {runs} run{'s' * (runs != 1)}"
    band = any(line.runs > 1 for line in lines)
    return f"{shown}, {compared.order.words}" + ("  |  mean ± standard deviation over seeds" if band else "")


def _metrics(runs: Sequence[Run]) -> list[str]:
    monitored = [run.monitor.name for run in runs if run.monitor is not None]
    if not monitored and not any(name in run.metrics for run in runs for name in LOSSES):
        return metric_names(runs)[:MOST_PANELS]  # runs that others made
    return list(dict.fromkeys((*LOSSES, *monitored)))[:MOST_PANELS]


def _labels(compared: Comparison) -> list[str]:
    """Say what tells groups apart: what was typed, and more only where that does not."""
    keys = [*compared.typed, *([] if compared.typed else compared.brought[:3])]
    several = len(compared.found.experiments) > 1
    found = []
    for group in compared.groups:
        params = group.first.params
        choices = {key: value for key, value in params.items() if "." not in key and not is_number(value)}
        told = short_name([f"{key}={params[key]}" for key in keys if key in params], choices)
        name = [group.first.experiment] if several else []
        found.append(" ".join([*name, told]).strip() or group.name or _fallback(group))
    return [_unlike(number, found, compared.groups) for number in range(len(found))]


def _fallback(group: Group) -> str:
    return group.first.short_id if len(group.runs) == 1 else group.first.experiment


def _unlike(number: int, labels: Sequence[str], groups: Sequence[Group]) -> str:
    """Tell a group from those of the same label: a run by its id, several by what they share."""
    label, group = labels[number], groups[number]
    if labels.count(label) == 1:
        return label
    if len(group.runs) == 1:
        ended = "" if group.first.status == DONE else f" {status_word(group.first.status)}"
        return f"{label} · {group.first.short_id}{ended}"
    like = [one for one, other in zip(groups, labels, strict=True) if other == label and len(one.runs) > 1]
    if len(like) == 1:
        return label  # how many runs it is of tells it from single ones
    for tag, words in _TELLING.items():
        shared = [one.shared(tag) for one in like]
        if all(shared) and len(set(shared)) == len(shared):
            return f"{label} · {words}{group.shared(tag)}"
    return f"{label} · group {number}"  # as the column of that name in files


def _read(runs: Sequence[Run], metrics: Sequence[str], query: RunQuery | None) -> dict[int, dict[str, Values]]:
    found = {id(run): _of_folder(run, metrics) for run in runs}
    others = [run for run in runs if not found[id(run)] and run.mlflow_experiment_id]
    if others and query is not None:
        points = query.points([run.mlflow_run_id for run in others], metrics)
        for run in others:
            found[id(run)] = {name: dict(values) for name, values in points.get(run.mlflow_run_id, {}).items()}
    return found


def _of_folder(run: Run, metrics: Sequence[str]) -> dict[str, Values]:
    if run.folder is None or not has_folder(run):
        return {}
    try:
        epochs = read_epochs(run.folder)
    except RunNotFoundError:  # damaged: the store may know
        return {}
    found = {name: {int(one["epoch"]): one[name] for one in epochs if name in one} for name in metrics}
    return {name: values for name, values in found.items() if values}


def _mean(curves: Iterable[Values]) -> list[tuple[int, float, float]]:
    """Return epoch, mean and standard deviation of those runs that came so far."""
    by_epoch: dict[int, list[float]] = {}
    for curve in curves:
        for epoch, value in curve.items():
            if math.isfinite(value):
                by_epoch.setdefault(epoch, []).append(value)
    return [
        (epoch, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for epoch, values in sorted(by_epoch.items())
    ]
