"""The list of runs: which there are, how they ended, and where they lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Console

from expkit.comparison import table
from expkit.comparison.gathering import Gathered
from expkit.comparison.run import Run
from expkit.progress import show_seconds, show_value
from expkit.report import quote_path
from expkit.sweeping.names import status_word
from expkit.tracking.text import masked

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_OLD_DAYS = 7


def show(console: Console, found: Gathered, limit: int) -> None:
    """Print the list, the newest first.

    Args:
        console: where to.
        found: the runs.
        limit: most lines.
    """
    runs = found.runs[:limit]
    count = f"{len(found.runs)} run{'s' * (len(found.runs) != 1)}"
    shown = f"the newest {len(runs)} of {count}" if len(runs) < len(found.runs) else count
    of = f" of {found.experiments[0]}" if len(found.experiments) == 1 else ""
    table.say(console, f"{shown}{of} in {found.place}", "bold")
    columns, hidden = table.fitting(_columns(runs, datetime.now(timezone.utc)), console.width)
    table.show(console, columns)
    more = [f"... and {len(found.runs) - len(runs)} more: --limit N"] if len(runs) < len(found.runs) else []
    for line in (*more, *table.no_room(hidden, "--json has all"), *untracked(found)):
        table.say(console, line, "dim")


def as_json(found: Gathered, limit: int | None) -> str:
    """Return the list as JSON: objects with what the table shows."""
    return json.dumps([_object(run) for run in found.runs[:limit]], indent=1, ensure_ascii=False) + "\n"


def untracked(found: Gathered) -> list[str]:
    """Say how many of the runs are in no store, and how many in which other one."""
    said = []
    for store, count in sorted(Counter(run.store for run in found.untracked).items()):
        runs = "one of the runs is" if count == 1 else f"{count} of the runs are"
        it, tells = ("it", "its folder tells") if count == 1 else ("them", "their folders tell")
        if store:
            where = f"in another tracking store, {masked(store)} (`--uri URI` asks it)"
        else:
            where = f"in no tracking store (`sync` brings {it} there)"
        said.append(f"{runs} {where}: {tells} of {it}")
    return said


def ago(moment: datetime | None, now: datetime) -> str:
    """Write a time for people: "5 min ago"; the day where it is long ago."""
    if moment is None:
        return table.MISSING
    seconds = (now - moment).total_seconds()
    if seconds >= _OLD_DAYS * 86400:
        return f"{moment.astimezone():%Y-%m-%d}"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _columns(runs: Sequence[Run], now: datetime) -> list[table.Column]:
    seconds = [table.MISSING if run.seconds is None else show_seconds(run.seconds) for run in runs]
    folders = [table.MISSING if run.folder is None else quote_path(run.folder) for run in runs]
    metrics = [_metric(run) for run in runs]
    return [
        table.facts("run", runs, "short_id", 0),
        table.facts("experiment", runs, "experiment", 0),
        table.Column("status", [status_word(run.status) for run in runs], 0),
        table.Column("started", [ago(run.started, now) for run in runs], 0),
        table.Column("took", seconds, 2, right=True),
        table.Column("result", metrics, 1),
        table.facts("id", runs, "id", 4),
        table.Column("folder", folders, 3),
        *([table.Column("why", [_reason(run) for run in runs], 5)] if any(run.reason for run in runs) else []),
    ]


def _metric(run: Run) -> str:
    if run.main_metric not in run.metrics:
        return table.MISSING
    return f"{run.main_metric.removeprefix('valid/')} {show_value(run.metrics[run.main_metric])}"


def _reason(run: Run) -> str:
    return run.reason.partition("\n")[0][:60] or table.MISSING


def _object(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "experiment": run.experiment,
        "name": run.name,
        "status": run.status,
        "reason": run.reason,
        "started": None if run.started is None else run.started.isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "metric": run.main_metric or None,
        "value": run.metrics.get(run.main_metric),
        "mlflow_run_id": run.mlflow_run_id or None,
        "folder": None if run.folder is None else str(run.folder),
    }
