"""The live table of a sweep: it fits a terminal of any size, also one whose size changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from expkit.progress import show_seconds, show_value
from expkit.sweeping.board import Board, Row
from expkit.sweeping.names import status_word
from expkit.sweeping.pace import seconds_left

NARROWEST = 14
"""Characters that the names of jobs get at least, before a column is left out for them."""
BESIDE = 3
"""Columns that are left out so soon, or sooner, give way to names of up to two fifths of the width."""
GAP = 2
BAR = 24


@dataclass(frozen=True)
class _Column:
    """A column: its title, what it shows of a row, and how soon it is left out where there is no room (0: never)."""

    title: str
    cell: Callable[[Row], str]
    left_out: int = 0
    right: bool = False


class Screen:
    """Draws the table in place.

    Args:
        console: a terminal.
        board: where the jobs stand.
    """

    def __init__(self, console: Console, board: Board) -> None:
        self._console, self._board = console, board
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._widths: list[int] = []
        self._width = console.width

    def start(self) -> None:
        """Show it."""
        self._live.start()
        self.draw()

    def stop(self) -> None:
        """Take it away."""
        self._live.stop()

    def draw(self) -> None:
        """Show how things stand now."""
        width, height = self._console.size
        if width < self._width:
            self._take_back_folds(width)
        self._width = width
        lines = frame(self._board, width, height, ascii_only=self._console.options.ascii_only)
        self._widths = [cell_len(line.plain) for line in lines]
        self._live.update(Group(*lines), refresh=True)

    def _take_back_folds(self, width: int) -> None:
        """Go up as many lines as a terminal that has become narrower has folded: rich counts those that it wrote."""
        folds = sum(max(-(-length // max(width, 1)) - 1, 0) for length in self._widths)
        up = (ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        self._console.control(*(Control(*up) for _ in range(folds)))


def frame(board: Board, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """Return the lines of the table, none longer than the terminal is wide, and fewer than it is high.

    Args:
        board: where the jobs stand.
        width: of the terminal.
        height: of the terminal.
        ascii_only: it knows no other characters.
    """
    room = max(height - 4, 0)  # the sweep's line, the titles, the rest, and the line of the cursor
    rows, hidden = _chosen(board, room)
    lines = [_sweep_line(board, width, ascii_only=ascii_only)]
    if rows:
        lines += _table(board, rows, width)
    if hidden and room:
        lines.append(Text(f"... and {hidden}"[:width], style="dim"))
    return lines[: max(height - 1, 1)]


def _chosen(board: Board, room: int) -> tuple[list[Row], str]:
    """Return the rows to show, by number, and what is left out, in words.

    Those that run come first, then the newest failures, then what ended last.
    """
    failed = [row for row in board.over if row.failed]
    others = [row for row in board.over if not row.failed]
    kept = failed[: max(room // 4, 1)] if len(board.rows) > room else failed
    shown = [*board.running[: max(room - len(kept), 1)], *kept]
    shown = [*shown, *others[: max(room - len(shown), 0)]][:room]
    numbers = {row.job.number for row in shown}
    hidden = [row for row in board.rows.values() if row.job.number not in numbers]
    words = [_state(row) for row in hidden]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return sorted(shown, key=lambda row: row.job.number), ", ".join(counts) + (" more" if counts else "")


def _sweep_line(board: Board, width: int, *, ascii_only: bool) -> Text:
    fraction, left = board.fraction(), seconds_left(board)
    times = [show_seconds(int(board.seconds()))]
    times += [f"{show_seconds(left)} left"] if left else []
    best = ""
    if board.best is not None:
        best = f"best {show_value(board.best.value)} (job {board.best.job})"
    counts = board.counts()
    tries = [[counts, ", ".join(times), best], [counts, times[-1], best], [counts, times[-1]], [counts]]
    texts = [(" " * GAP).join(filter(None, parts)) for parts in tries]
    shown = next((text for text in texts if cell_len(text) <= width), counts)
    text = Text(shown, style="bold")
    if fraction is not None and cell_len(shown) + BAR + GAP <= width:
        done = round(fraction * BAR)
        full, empty = ("#", "-") if ascii_only else ("━", "─")
        text = Text.assemble((full * done, "green"), (empty * (BAR - done), "dim"), " " * GAP, text)
    text.truncate(width, overflow="crop")
    return text


def _table(board: Board, rows: Sequence[Row], width: int) -> list[Text]:
    columns = [
        _Column("job", lambda row: str(row.job.number), right=True),
        _Column("state", _state, 1),
        _Column("on", lambda row: row.slot or "-", 5),
        _Column("epoch", _epoch, 3, right=True),
        _Column(
            board.monitor or "result", lambda row: "-" if row.best is None else show_value(row.best), 2, right=True
        ),
        _Column("time", _time, 4, right=True),
    ]
    cells = {column.title: [column.title, *(column.cell(row) for row in rows)] for column in columns}
    sizes = {title: max(map(cell_len, column)) for title, column in cells.items()}
    longest = max(len("parameters"), *(cell_len(row.name) for row in rows))
    shown = list(columns)
    # Which job it is matters more than where and how long it runs, but not more than what it has reached.
    for room, first in ((2 * width // 5, BESIDE), (NARROWEST, 1)):
        while _left(width, shown, sizes) < min(longest, room) and any(one.left_out >= first for one in shown):
            shown.remove(max(shown, key=lambda column: column.left_out))
    name = min(longest, max(_left(width, shown, sizes), 1))
    names = short_names([row.name for row in board.rows.values()], name)
    told = dict(zip(board.rows, names, strict=True))
    lines = []
    for number, row in enumerate([None, *rows]):
        parts = [_sized(cells[c.title][number], sizes[c.title], right=c.right) for c in shown]
        parts.insert(1, _cropped("parameters" if row is None else told[row.job.number], name))
        line = Text((" " * GAP).join(parts).rstrip(), style="bold" if row is None else _style(row))
        line.truncate(width, overflow="crop")
        lines.append(line)
    return lines


def _left(width: int, columns: Sequence[_Column], sizes: dict[str, int]) -> int:
    return width - sum(sizes[column.title] + GAP for column in columns)


def short_names(names: Sequence[str], size: int) -> list[str]:
    """Return names whose beginnings tell them apart, where they are to be cut: first the word that differs most."""
    words = [name.split(" ") for name in names]
    common = min(map(len, words), default=0)
    if all(cell_len(name) <= size for name in names):
        return list(names)
    places = sorted(range(common), key=lambda place: -len({one[place] for one in words}))
    return [" ".join([*(one[place] for place in places), *one[common:]]) for one in words]


def _sized(text: str, size: int, *, right: bool) -> str:
    padding = " " * (size - cell_len(text))
    return padding + text if right else text + padding


def _cropped(text: str, size: int) -> str:
    return set_cell_size(text if cell_len(text) <= size else text[: max(size - 2, 1)] + "..", size)


def _state(row: Row) -> str:
    if row.outcome is not None:
        return status_word(row.outcome.status)
    if row.last is None:
        return "starting"
    return "training" if row.last[0].step < row.last[0].steps else "finishing"


def _epoch(row: Row) -> str:
    if row.last is None:
        return f"0/{row.job.epochs}"
    report = row.last[0]
    return f"{report.epoch}/{report.epochs}"


def _time(row: Row) -> str:
    """How long it took, or will take."""
    if row.outcome is not None:
        return show_seconds(row.outcome.seconds)
    left = row.seconds_left()
    return "-" if left is None or _state(row) == "finishing" else f"{show_seconds(left)} left"


def _style(row: Row) -> str:
    if row.failed:
        return "red"
    return "dim" if row.outcome is not None else ""
