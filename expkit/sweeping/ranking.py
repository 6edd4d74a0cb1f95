"""What a user sees when a sweep is over: its results in one table and one file, and all loss curves in one picture."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit.callbacks import read_epochs, read_steps
from expkit.files import write_whole
from expkit.masking import masked, masked_values
from expkit.plotting import MOST_CURVES, Curve
from expkit.progress import show_seconds, show_value
from expkit.report import make_console, quote_path
from expkit.sweeping.jobs import FINISHED, PENDING
from expkit.sweeping.names import short_value, status_word
from expkit.sweeping.results import Entry, folders_of, metric_names, of_folders, rules

RESULTS, LOSSES = "results.csv", "losses.png"
BEST = 20
"""Rows of the table on the screen; the file has all."""
FAILED = 10
"""Rows for jobs without a result."""
BROUGHT = 3
"""Columns for options that were not typed, but differ with what was."""

log = logging.getLogger("expkit")


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, and what it shows of an entry."""

    title: str
    cell: Callable[[Entry], str]
    justify_right: bool = False

    def width(self, entries: Sequence[Entry]) -> int:
        """Characters that it takes, with its border."""
        return max(len(self.title), *(len(self.cell(one)) for one in entries)) + 3


def conclude(folder: Path, console: Console, entries: Sequence[Entry]) -> None:
    """Show the results of a sweep, and write them to its folder.

    Args:
        folder: of the sweep.
        console: where to.
        entries: of its jobs, ranked.
    """
    if not entries:
        return
    show(console, entries)
    places = [("results", RESULTS, write_results), ("loss curves", LOSSES, draw)]
    for what, name, write in places:
        try:
            written = write(folder / name, entries)
        except OSError as error:  # as of a full disk: what was shown stands
            log.warning("%s could not be written: %s", folder / name, error.strerror)
            continue
        if written:
            console.print(f"{what:<11} {quote_path(folder / name)}", soft_wrap=True, markup=False)


def conclude_folders(sweep: Path) -> None:
    """Compare the jobs of a sweep that have run, where only their folders tell of them."""
    folders = folders_of(sweep)
    if len(folders) > 1:
        conclude(sweep, make_console(), of_folders(folders))


def show(console: Console, entries: Sequence[Entry]) -> None:
    """Show the results in a table that fits the console: the best, and those that came to nothing."""
    good = [one for one in entries if one.metrics]
    bad = [one for one in entries if not one.metrics and one.status != PENDING]
    shown = [*good[:BEST], *bad[:FAILED]]
    jobs = "1 job" if len(entries) == 1 else f"{len(entries)} jobs"
    console.print(f"\n[bold]{jobs}[/bold]{_count(entries)}, {escape(order(entries))}")
    if not shown:
        return
    table = Table()
    columns = _fitting(console.width, shown)
    for column in columns:
        right = column.justify_right
        table.add_column(escape(column.title), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for number, one in enumerate(shown):
        style = "bold" if number == 0 and one.metrics and rules(entries) else "" if one.metrics else "dim"
        table.add_row(*(escape(column.cell(one)) for column in columns), style=style)
    console.print(table)
    for data, wanted in sorted({(one.data, one.stand_in_for) for one in entries if one.stand_in_for}):
        told = f"STAND-IN DATA: this is NOT {wanted}; {data} was used. Results say nothing about {wanted}."
        console.print(told, style="bold yellow", markup=False)
    hidden = len(good[BEST:]) + len(bad[FAILED:])
    if hidden:
        console.print(f"... and {hidden} more, all of them in {RESULTS}", markup=False)


def order(entries: Sequence[Entry]) -> str:
    """Say in which order they are."""
    monitor = rules(entries)
    return f"the best {monitor['name']} first" if monitor else "by their number"


def write_results(file: Path, entries: Sequence[Entry]) -> bool:
    """Write all results as a CSV file: one row a job, with the parameters that vary, and every metric.

    Raises:
        OSError: it cannot be written.
    """
    parameters = list(dict.fromkeys(key for one in entries for key in one.parameters))
    metrics = list(dict.fromkeys(name for one in entries for name in one.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("seconds", "attempts", "reason", "mlflow_run_id", "folder")
    writer.writerow(["job", "status", *parameters, *metrics, *ends])
    for one in entries:
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        writer.writerow(
            [
                *(one.number, one.status),
                *(masked_values(one.parameters.get(key, ""), key) for key in parameters),
                *(one.metrics.get(name, "") for name in metrics),
                *(seconds, one.attempts, masked(one.reason), one.mlflow_run_id, one.folder),
            ]
        )
    write_whole(file, text.getvalue())
    return True


def draw(file: Path, entries: Sequence[Entry]) -> bool:
    """Draw the loss curves of the best jobs in one picture, if there are any.

    Raises:
        OSError: it cannot be written.
    """
    found = curves(entries)
    if found:
        from expkit.plotting import draw_losses  # Matplotlib costs 0.3 s

        name = next((one.name for one in entries if one.name), "sweep")
        draw_losses(file, f"{name}  |  {file.parent.name}", found)
    return bool(found)


def curves(entries: Sequence[Entry]) -> list[Curve]:
    """Return the loss curves of the best jobs, without those that have none."""
    found: list[Curve] = []
    for one in entries:
        steps = read_steps(one.folder) if len(found) < MOST_CURVES else []
        if steps:
            epochs = [(int(epoch["epoch"]), epoch["valid/loss"]) for epoch in read_epochs(one.folder)]
            found.append(Curve(one.label, [(step, loss) for step, loss, _ in steps], epochs))
    return found


def _count(entries: Sequence[Entry]) -> str:
    states = [one.status for one in entries]
    counts = {state: states.count(state) for state in dict.fromkeys(states) if state != FINISHED}
    return "".join(f", {count} {status_word(state)}" for state, count in counts.items())


def _fitting(width: int, entries: Sequence[Entry]) -> list[Column]:
    """Return the columns that there is room for; the most important are chosen first."""
    longest = max(entries, key=lambda one: one.typed)
    parameters = list(dict.fromkeys(key for one in entries for key in one.parameters))
    typed = [key for key in parameters if key in list(longest.parameters)[: longest.typed]]
    metrics = metric_names(entries)
    job, state = Column("job", lambda one: one.number, True), Column("state", lambda one: status_word(one.status))
    time = Column("time", lambda one: "-" if one.seconds is None else show_seconds(one.seconds), True)
    by_name = {name: Column(name, _metric(name), True) for name in metrics}
    by_key = {key: Column(key, _parameter(key)) for key in parameters}
    others = [key for key in parameters if key not in typed][:BROUGHT]
    failed = any(one.status != FINISHED for one in entries)
    needed = [job, *(by_key[key] for key in typed), *([state] if failed else []), *(by_name[n] for n in metrics[:1])]
    wanted = [
        *(by_name[n] for n in metrics[1:2]),
        time,
        *(by_key[k] for k in others),
        *(by_name[n] for n in metrics[2:]),
    ]
    room = width - 1 - sum(column.width(entries) for column in needed)
    chosen = list(needed)
    for column in wanted:
        room -= column.width(entries)
        if room < 0:
            break
        chosen.append(column)
    places = [job, *by_key.values(), state, *by_name.values(), time]
    return [column for column in places if column in chosen]


def _metric(name: str) -> Callable[[Entry], str]:
    return lambda one: show_value(one.metrics[name]) if name in one.metrics else "-"


def _parameter(key: str) -> Callable[[Entry], str]:
    return lambda one: short_value(one.parameters.get(key, "-"))
