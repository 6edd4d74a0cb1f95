"""Tables that fit the terminal: what matters most has its place first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit.comparison.grouping import Group, Measured
from expkit.comparison.run import Run
from expkit.progress import show_seconds, show_value
from expkit.sweeping.names import status_word

MISSING = "-"
GAP = 2
MOST_SEEDS = 5
"""Of a line that are written out."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: a full name; it is broken behind dots and slashes, so that it takes little room.
        cells: one for each row.
        rank: columns with the lowest have their place first; 0 is always shown.
        right: whether it is aligned to the right.
        bold: numbers of the rows that are the best.
        style: of the others.
    """

    title: str
    cells: Sequence[str]
    rank: int
    right: bool = False
    bold: frozenset[int] = field(default_factory=frozenset)
    style: str = ""

    @property
    def head(self) -> str:
        """The title in lines."""
        return self.title.replace(".", ".\n").replace("/", "/\n")

    @property
    def width(self) -> int:
        """Characters that it takes, with the gap beside it."""
        return max(len(line) for text in (self.head, *self.cells) for line in text.split("\n")) + GAP


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """Return the columns that there is room for, and the others; both in their order."""
    room = width + GAP - sum(column.width for column in columns if column.rank == 0)
    chosen = [column for column in columns if column.rank == 0]
    for column in sorted((one for one in columns if one.rank), key=lambda one: one.rank):
        if column.width <= room:
            chosen.append(column)
            room -= column.width
    kept = [column for column in columns if any(column is one for one in chosen)]
    return kept, [column for column in columns if not any(column is one for one in chosen)]


def show(console: Console, columns: Sequence[Column]) -> None:
    """Print a table."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            escape(column.head), justify="right" if column.right else "left", overflow="fold", vertical="bottom"
        )
    for number in range(len(columns[0].cells)):
        table.add_row(*(_cell(column, number) for column in columns))
    console.print(table)


def say(console: Console, line: str, style: str) -> None:
    """Print a line; a terminal that is too narrow for it breaks it between words, and else it stays whole."""
    console.print(line, style=style, markup=False, soft_wrap=not console.is_terminal)


def no_room(hidden: Sequence[Column], where: str) -> list[str]:
    """Say which columns have no room, and what has them; nothing where all have.

    Args:
        hidden: as `fitting` returns them.
        where: what has them.
    """
    missing = [column.title for column in hidden if set(column.cells) != {MISSING}]
    return [f"no room for {', '.join(missing)}; {where}, or a wider terminal"] if missing else []


def parameter(groups: Sequence[Group], name: str, rank: int) -> Column:
    """Return a column with what groups have as a parameter; of several seeds all, or the first and the last."""
    values = [[_shortened(value) for value in group.values(name)] or [MISSING] for group in groups]
    cells = [", ".join(some) if len(some) <= MOST_SEEDS else f"{some[0]} … {some[-1]}" for some in values]
    return Column(name, cells, rank, right=all(is_number(value) for some in values for value in some))


def metric(groups: Sequence[Group], name: str, rank: int, *, higher_is_better: bool | None) -> Column:
    """Return a column with what groups have measured; the best is bold."""
    found = [group.measured(name) for group in groups]
    cells = [MISSING if one is None else show_measured(one) for one in found]
    known = [(one.mean, number) for number, one in enumerate(found) if one is not None and one.mean == one.mean]
    best = frozenset[int]()
    if higher_is_better is not None and len(known) > 1:
        value = (max if higher_is_better else min)(known)[0]
        best = frozenset(number for mean, number in known if mean == value)
    return Column(name, cells, rank, right=True, bold=best)


def show_measured(one: Measured) -> str:
    """Write a mean for people: "0.9712 ± 0.0031", and behind it how many runs it is of where some have no value."""
    spread = "" if one.deviation is None else f" ± {show_value(one.deviation)}"
    return show_value(one.mean) + spread + (f" ({one.count}/{one.of})" if one.count < one.of else "")


def states(groups: Sequence[Group], rank: int) -> Column:
    """Return a column with how runs ended."""
    cells = []
    for group in groups:
        counts = group.statuses()
        words = [f"{n} {status_word(s)}" if len(counts) > 1 else status_word(s) for s, n in counts.items()]
        cells.append(", ".join(words))
    return Column("status", cells, rank)


def durations(groups: Sequence[Group], rank: int) -> Column:
    """Return a column with how long runs took."""
    seconds = [group.seconds() for group in groups]
    return Column("time", [MISSING if one is None else show_seconds(one) for one in seconds], rank, right=True)


def counts(groups: Sequence[Group], rank: int) -> Column:
    """Return a column with how many runs a group has, and of how many seeds where some came twice."""
    cells = []
    for group in groups:
        runs = len(group.runs)
        cells.append(str(runs) if group.seeds == runs else f"{runs} ({group.seeds} seed{'s' * (group.seeds != 1)})")
    return Column("n", cells, rank, right=True)


def facts(title: str, runs: Sequence[Run], attribute: str, rank: int) -> Column:
    """Return a column with an attribute of runs, as text."""
    return Column(title, [str(getattr(run, attribute) or MISSING) for run in runs], rank)


def _cell(column: Column, number: int) -> str:
    text = escape(column.cells[number])
    style = "bold" if number in column.bold else column.style
    return f"[{style}]{text}[/{style}]" if style else text


def _shortened(text: str, most: int = 40) -> str:
    if is_number(text) and len(text) > 8 and "." in text:
        return f"{float(text):.4g}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def is_number(text: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    try:
        float(text)
    except ValueError:
        return text == MISSING
    return True
