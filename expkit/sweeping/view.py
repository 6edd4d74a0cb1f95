"""What a user sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.text import Text

from expkit.progress import show_seconds, show_value
from expkit.report import quote_path
from expkit.sweeping.board import Board, Row, told
from expkit.sweeping.jobs import KILLED, OUTPUT, Job, Outcome, Report, has_checkpoint
from expkit.sweeping.names import status_word
from expkit.sweeping.pace import seconds_left
from expkit.sweeping.screen import Screen
from expkit.sweeping.standing import NOTHING, UNKNOWN, Aim, Before

LINE_SECONDS = 30.0
"""A job that trains gets a line at most so often."""
REDRAW_SECONDS = 0.25
_WORTH_TELLING = 1.0
"""Seconds; what is left of less is over when it is read."""
REASON_LINES = 6
"""Of the reason of a failure; all of it is in the job's output."""


def open_view(
    console: Console,
    total: int | None,
    *,
    before: Before = NOTHING,
    aim: Aim = UNKNOWN,
    style: str = "auto",
) -> View:
    """Return the view for `trainer.progress`: "auto", "bar", "plain" or "off", which shows failures only.

    Args:
        console: where to.
        total: jobs of the sweep; None where a search decides on them as it goes.
        before: what was done before this start.
        aim: what the jobs are compared by.
        style: as above.
    """
    board = Board(total, before, aim)
    live = style in ("auto", "bar") and console.is_terminal and not console.is_dumb_terminal
    if style == "off":
        return View(console, board)
    return LiveView(console, board) if live else LineView(console, board)


class View:
    """Shows failures as they happen, and nothing else; a `Watcher`, and a context that ends with the sweep.

    Args:
        console: where to.
        board: keeps account of the jobs.
    """

    def __init__(self, console: Console, board: Board) -> None:
        self.console, self.board = console, board

    def __enter__(self) -> View:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the console as it was."""

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Note it."""
        self.board.started(job, slot, attempt)

    def reported(self, job: Job, report: Report) -> None:
        """Note it."""
        self.board.reported(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Show a failure at once."""
        row = self.board.ended(job, outcome)
        if row.failed:
            self._show_failure(row, outcome)

    def tick(self) -> None:
        """Nothing moves."""

    def _print(self, job: Job, text: str) -> None:
        self.console.print(Text(f"job {job.number}  {text}"), soft_wrap=True)

    def _show_failure(self, row: Row, outcome: Outcome) -> None:
        tries = f" in {outcome.attempts} tries" if outcome.attempts > 1 else ""
        took = f" after {show_seconds(outcome.seconds)}" if outcome.seconds else ""
        text = Text(f"job {row.job.number}  {status_word(outcome.status)}{took}{tries}", style="bold red")
        reason = [line.rstrip() for line in outcome.reason.splitlines() if line.strip()]
        text.append("".join(f"\n    {line}" for line in reason[:REASON_LINES]), style="not bold default")
        facts = {"job": told(row.job)}
        if (row.job.folder / OUTPUT).exists():
            facts["output"] = quote_path(row.job.folder / OUTPUT)
        for what, where in facts.items():
            text.append(f"\n    {what}: {where}", style="not bold default")
        self.console.print(text, soft_wrap=True)


class LineView(View):
    """Prints a line when a job starts, now and then while it trains, and when it ends."""

    def __init__(self, console: Console, board: Board) -> None:
        super().__init__(console, board)
        self._printed: dict[int, float] = {}

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Print where it runs, and what it is."""
        super().started(job, slot, attempt, after)
        self._printed[job.number] = time.perf_counter()
        again = "resumed" if job.resume and has_checkpoint(job.folder) else "started"
        how = again if attempt == 1 and not after else _again(attempt, after)
        self._print(job, f"{how} on {slot}: {told(job)}")

    def reported(self, job: Job, report: Report) -> None:
        """Print how an epoch went, where the job's last line is long ago."""
        row, now = self.board.reported(job, report), time.perf_counter()
        if report.monitored is None or now - self._printed.get(job.number, now) < LINE_SECONDS:
            return
        self._printed[job.number] = now
        left = row.seconds_left()
        parts = [f"epoch {report.epoch}/{report.epochs}", f"{report.monitor} {show_value(report.monitored)}"]
        parts += [f"{show_seconds(left)} left"] if left and left >= _WORTH_TELLING else []
        self._print(job, "  ".join(parts))

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Print what came of it, and how far the sweep is."""
        super().ended(job, outcome)
        row, left = self.board.rows[job.number], seconds_left(self.board)
        sweep = self.board.counts() + (
            f", {show_seconds(left)} left" if left and left >= _WORTH_TELLING and self._waits() else ""
        )
        if row.failed:
            self.console.print(Text(f"sweep: {sweep}"), soft_wrap=True)
            return
        result = ""
        if row.best is not None:
            name = row.monitor or self.board.monitor
            result = f": {name} {show_value(row.best)}" + self._mark(row)
        why = f" ({outcome.reason})" if outcome.reason else ""
        self._print(job, f"{status_word(outcome.status)} in {show_seconds(outcome.seconds)}{why}{result}  |  {sweep}")

    def _waits(self) -> bool:
        stopping = any(row.outcome is not None and row.outcome.status == KILLED for row in self.board.over)
        return not stopping and len(self.board.over) + self.board.before.done < (self.board.total or 0)

    def _mark(self, row: Row) -> str:
        best, before = self.board.best, self.board.before.best
        others = before is not None or any(one.best is not None and one is not row for one in self.board.over)
        return " * best so far" if best is not None and best.job == row.job.number and others else ""


class LiveView(View):
    """Draws a table of the jobs that is always up to date; failures stay on the screen above it."""

    def __init__(self, console: Console, board: Board) -> None:
        super().__init__(console, board)
        self._screen = Screen(console, board)
        self._drawn = 0.0

    def __enter__(self) -> LiveView:
        """Show the table."""
        self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the table away."""
        self._screen.stop()

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Say above the table how the attempt before died."""
        super().started(job, slot, attempt, after)
        if after:
            self._print(job, f"{_again(attempt, after)} on {slot}: {told(job)}")

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Show a failure at once, above the table."""
        super().ended(job, outcome)
        self._screen.draw()

    def tick(self) -> None:
        """Redraw, a few times a second."""
        now = time.perf_counter()
        if now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._screen.draw()


def _again(attempt: int, after: str) -> str:
    """Say why a job is begun again: nothing else tells of an attempt that died."""
    how = f"tried again ({attempt})" if attempt > 1 else "started elsewhere"  # its node died before it had begun
    return f"{after}; {how}" if after else how
