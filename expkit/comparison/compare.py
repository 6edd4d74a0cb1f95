"""The table that compares runs: what varies, and what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from expkit.comparison import table
from expkit.comparison.direction import higher_is_better
from expkit.comparison.filters import full_name
from expkit.comparison.gathering import Gathered
from expkit.comparison.grouping import Group, grouped, mixes_code, what_varies
from expkit.comparison.listing import untracked
from expkit.comparison.ordering import Order, choose_order, ordered
from expkit.comparison.run import Run

DETAILS = ("step/", "time/")
"""Metrics of every step, whose last value says little."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        found: all that was gathered.
        groups: of these runs, in their order.
        order: by what.
        typed: names of the parameters that vary and were typed.
        brought: names of those that differ with them.
        metrics: names of those that are shown, the most important first.
        together: whether runs that differ only in their seed are one group.
    """

    found: Gathered
    groups: list[Group]
    order: Order
    typed: list[str]
    brought: list[str]
    metrics: list[str]
    together: bool


def compare(
    found: Gathered,
    *,
    together: bool = True,
    sort: str | None = None,
    descending: bool | None = None,
    metrics: Sequence[str] = (),
    all_metrics: bool = False,
) -> Comparison:
    """Put runs side by side.

    Args:
        found: the runs.
        together: whether runs that differ only in their seed become one line.
        sort: see `choose_order`.
        descending: see `choose_order`.
        metrics: that are shown; by default those that say how good a run is.
        all_metrics: whether all are shown.

    Raises:
        ConfigError: no run has such a metric.
    """
    groups = grouped(found.runs) if together else [Group((run,)) for run in found.runs]
    order = choose_order(found.runs, sort, descending)
    typed, brought = what_varies(groups, seed=not together)
    names = [_metric(found.runs, name) for name in metrics] or main_metrics(found.runs)
    if all_metrics:
        names = [*names, *(name for name in metric_names(found.runs) if name not in names)]
    if any(order.key in run.metrics for run in found.runs) and order.key not in names:
        names.insert(0, order.key)
    best_first = [Group(tuple(_best_first(group, names))) for group in ordered(groups, order)]
    return Comparison(found, best_first, order, typed, brought, names, together)


def main_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the names of the metrics that say how good runs are: the monitored one, that of the test, their losses."""
    there = {name for run in runs for name in run.metrics}
    names: dict[str, None] = {}
    for run in runs:
        if run.main_metric:
            names.update({run.main_metric: None, f"test/{run.main_metric.removeprefix('valid/best_')}": None})
    if not names:  # not ours: nobody said what counts
        names = dict.fromkeys(name for name in metric_names(runs) if name.startswith(("test/", "valid/")))
    for loss, others in (("valid/best_loss", "valid/"), ("test/loss", "test/")):
        columns = [[run.metrics.get(name) for run in runs] for name in names if name.startswith(others)]
        if [run.metrics.get(loss) for run in runs] not in columns:  # which is the metric itself, as a squared error
            names[loss] = None
    return [name for name in names if name in there] or metric_names(runs)[:4]


def metric_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of all metrics, but for those of single steps."""
    return sorted({name for run in runs for name in run.metrics if not name.startswith(DETAILS)}, key=_split_first)


def show(console: Console, compared: Comparison, limit: int) -> None:
    """Print the table, and above it what it shows.

    Args:
        console: where to.
        compared: the runs.
        limit: most lines.
    """
    groups, runs = compared.groups[:limit], compared.found.runs
    table.say(console, headline(compared), "bold")
    columns = _columns(compared, groups)
    shown, hidden = table.fitting(columns, console.width)
    table.show(console, shown)
    for data, wanted in sorted(
        {(run.tags.get("data.name", "?"), run.tags.get("data.stand_in_for", "")) for run in runs}
    ):
        if wanted:
            told = f"STAND-IN DATA: this is NOT {wanted}; {data} was used. Results say nothing about {wanted}."
            table.say(console, told, "bold yellow")
    for line in _notes(compared, groups, hidden):
        table.say(console, line, "dim")
    if len(runs) == 1:
        console.print(f"One run has nothing beside it; all of it: python -m expkit show run {runs[0].short_id}")


def headline(compared: Comparison) -> str:
    """Say what is shown: which runs, of where, in which order."""
    found = compared.found
    count = f"{len(found.runs)} run{'s' * (len(found.runs) != 1)}"
    groups = len(compared.groups)
    lines = f" in {groups} group{'s' * (groups != 1)}" if groups < len(found.runs) else ""
    names = ", ".join(found.experiments[:4]) + (" and others" if len(found.experiments) > 4 else "")
    return f"{names}: {count}{lines} of {found.place}, {compared.order.words}"


def _columns(compared: Comparison, groups: Sequence[Group]) -> list[table.Column]:
    """Return the columns; those of what was typed and of the first metric are always shown."""
    runs = [group.first for group in groups]
    every = compared.found.runs
    sorted_by = compared.order.key
    main = {compared.metrics[0], *(run.main_metric for run in every)} if compared.metrics else set()
    measured = [
        table.metric(groups, name, 0 if name in main else 2 + number, higher_is_better=higher_is_better(name, every))
        for number, name in enumerate(compared.metrics)
    ]
    failed = any(run.status != "FINISHED" for group in groups for run in group.runs)
    many = compared.together and any(len(group.runs) > 1 for group in groups)
    several = len(compared.found.experiments) > 1
    names = dict.fromkeys(name for name in (*compared.typed, *compared.brought) if name != "experiment" or not several)
    if sorted_by not in names and any(sorted_by in run.params for run in every):
        names[sorted_by] = None
    first = set(compared.typed) | {sorted_by}
    return [
        table.facts("run", runs, "short_id", 0),
        *([table.facts("experiment", runs, "experiment", 0)] if several else []),
        *(table.parameter(groups, name, 1 if name in first else 30 + n) for n, name in enumerate(names)),
        *([table.counts(groups, 0)] if many else []),
        *measured,
        *([table.states(groups, 0)] if failed else [table.states(groups, 60)]),
        table.durations(groups, 4),
        table.Column("name", [group.name or table.MISSING for group in groups], 70),
    ]


def _notes(compared: Comparison, groups: Sequence[Group], hidden: Sequence[table.Column]) -> list[str]:
    """Return what is to be known of the table."""
    notes = []
    if len(compared.groups) > len(groups):
        more = len(compared.groups) - len(groups)
        notes.append(f"... and {more} more line{'s' * (more != 1)}; --limit N shows more")
    if any(len(group.runs) > 1 for group in groups):
        notes.append(
            "a line of n runs that differ only in seed: mean ± standard deviation, and the best of them as `run`; "
            "--no-group lists each"
        )
        if mixes_code(groups):
            notes.append(f"{mixes_code(groups)} of the lines are of runs with different code (git); --no-group, diff")
    shown = [column for column in hidden if column.title != "status"]  # which is hidden only where all are finished
    return [*notes, *table.no_room(shown, "--csv FILE has all"), *untracked(compared.found)]


def _best_first(group: Group, names: Sequence[str]) -> list[Run]:
    """Sort the runs of a group by the first metric."""
    if not names:
        return list(group.runs)
    higher = higher_is_better(names[0], group.runs)

    def place(run: Run) -> float:
        value = run.metrics.get(names[0], float("nan"))
        return float("inf") if value != value else (-value if higher else value)

    return sorted(group.runs, key=place)


def _metric(runs: Sequence[Run], name: str) -> str:
    return full_name(name, [replace(run, params={}) for run in runs], f"--metric {name}")


def _split_first(name: str) -> tuple[int, str]:
    order = {"test": 0, "valid": 1, "train": 2}
    return order.get(name.partition("/")[0], 3), name
