"""How long a sweep will take from here, by the jobs that have ended."""

from __future__ import annotations

from statistics import fmean

from expkit.sweeping.board import Board, Row
from expkit.sweeping.jobs import FINISHED, PRUNED


def seconds_left(board: Board) -> float | None:
    """Return how long the rest of a sweep will take; None while nobody can know.

    Before a job has ended that is so wherever others wait. The first job of a place waits for imports, which no later
    one does: it counts from its first report on.
    """
    if board.total is None:
        return None
    costs = _costs(list(board.rows.values()))
    waiting = max(board.total - board.before.done - len(board.rows), 0)
    own = [row.seconds_left() for row in board.running]
    if not costs:
        known = [seconds for seconds in own if seconds is not None]
        return None if waiting or len(known) < len(own) else max(known, default=None)
    each = fmean(costs)
    running = [
        each * (1.0 - row.fraction()) if seconds is None else seconds
        for row, seconds in zip(board.running, own, strict=True)
    ]
    return max([(waiting * each + sum(running)) / max(len(running), 1), *running])


def _costs(rows: list[Row]) -> list[float]:
    first = {row.slot: row for row in sorted(rows, key=lambda row: -row.began)}
    ended = [row for row in rows if row.outcome is not None and row.outcome.status in (FINISHED, PRUNED)]
    return [row.ended - (row.first[1] if row is first[row.slot] and row.first else row.began) for row in ended]
