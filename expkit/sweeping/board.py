"""Where the jobs of a sweep stand: what a view shows of them, and how long they will take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from expkit.sweeping.jobs import KILLED, PRUNED, Job, Outcome, Report, came_to_nothing
from expkit.sweeping.names import short_name
from expkit.sweeping.standing import NOTHING, UNKNOWN, Aim, Before, Best, counts, is_better


@dataclass
class Row:
    """One job that was started.

    Attributes:
        job: it.
        slot: where its process runs.
        attempt: which of its processes, from 1.
        began: when this process was started, by the clock of `time.perf_counter`.
        name: what tells it from the others, in few words.
        first: its first report, from which its speed is measured, and when that came.
        last: its newest report, and when that came.
        monitor: name of the metric that it monitors; empty until it has told it.
        best: value of this metric so far.
        outcome: how it ended; None while it runs.
        ended: when.
    """

    job: Job
    slot: str
    attempt: int
    began: float
    name: str
    first: tuple[Report, float] | None = None
    last: tuple[Report, float] | None = None
    monitor: str = ""
    best: float | None = None
    outcome: Outcome | None = None
    ended: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it came to nothing."""
        return self.outcome is not None and came_to_nothing(self.outcome.status)

    def fraction(self) -> float:
        """Part of its training that is done."""
        if self.outcome is not None:
            return 1.0
        return min(self.last[0].step / max(self.last[0].steps, 1), 1.0) if self.last is not None else 0.0

    def seconds_left(self) -> float | None:
        """How long its training will take; None while nobody can know."""
        if self.first is None or self.last is None or self.outcome is not None:
            return None
        (then, since), (now, when) = self.first, self.last
        if now.step <= then.step:
            return None
        return max((when - since) / (now.step - then.step) * (now.steps - now.step) - (time.perf_counter() - when), 0.0)


class Board:
    """Keeps account of a sweep's jobs while they run.

    Args:
        total: jobs of the sweep; None where a search decides on them as it goes.
        before: what was done before this start.
        aim: what the jobs are compared by.

    Attributes:
        rows: the jobs that were started, by number.
        monitor: name of the metric that they are compared by.
        best: the best job that has trained wholly, in this start or before.
    """

    def __init__(self, total: int | None, before: Before = NOTHING, aim: Aim = UNKNOWN) -> None:
        self.total, self.before = total, before
        self.rows: dict[int, Row] = {}
        self.monitor, self._higher = aim.name, aim.higher_is_better
        self.best: Best | None = before.best
        self._began = time.perf_counter()

    def started(self, job: Job, slot: str, attempt: int) -> Row:
        """Take in that a job's process was started."""
        name = short_name(job.varies or job.overrides, job.choices)
        row = self.rows[job.number] = Row(job, slot, attempt, time.perf_counter(), name)
        return row

    def reported(self, job: Job, report: Report) -> Row:
        """Take in how far a job is."""
        row, now = self.rows[job.number], time.perf_counter()
        row.first = row.first or (report, now)
        row.last = (report, now)
        if report.monitor:
            row.monitor = self.monitor = report.monitor
            self._higher = report.higher_is_better
        if report.monitored is not None:
            row.best = self._better(row.best, report.monitored)
        return row

    def ended(self, job: Job, outcome: Outcome) -> Row:
        """Take in how a job ended, also one that no process was started for."""
        row = self.rows.get(job.number) or self.started(job, "", outcome.attempts)
        row.outcome, row.ended = outcome, time.perf_counter()
        if outcome.value is not None:
            row.best = outcome.value
            if counts(outcome) and is_better(outcome.value, self.best, self._higher):
                self.best = Best(job.number, outcome.value)
        return row

    @property
    def running(self) -> list[Row]:
        """Those whose process lives, by number."""
        return sorted((row for row in self.rows.values() if row.outcome is None), key=lambda row: row.job.number)

    @property
    def over(self) -> list[Row]:
        """Those that ended since this start, the newest first."""
        return sorted((row for row in self.rows.values() if row.outcome is not None), key=lambda row: -row.ended)

    def counts(self) -> str:
        """Say how many jobs are where: "12 of 100 done, 1 failed, 2 running"."""
        over = self.over
        stopped = sum(_status(row) == KILLED for row in over)
        failed = self.before.failed + sum(row.failed for row in over)
        done = self.before.done + len(over) - failed - stopped
        parts = [f"{done} of {self.total} done" if self.total is not None else f"{done} done"]
        pruned = sum(_status(row) == PRUNED for row in over)
        for count, word in (
            (pruned, "pruned"),
            (failed, "failed"),
            (stopped, "stopped"),
            (len(self.running), "running"),
        ):
            parts += [f"{count} {word}"] if count else []
        return ", ".join(parts)

    def fraction(self) -> float | None:
        """Part of the sweep that is done; None where its length is not known."""
        if self.total is None:
            return None
        return min((self.before.done + sum(row.fraction() for row in self.rows.values())) / max(self.total, 1), 1.0)

    def seconds(self) -> float:
        """Time since this start."""
        return time.perf_counter() - self._began

    def _better(self, one: float | None, other: float) -> float:
        if one is None or one != one or other != other:  # NaN is worse than anything
            return other if one is None or one != one else one
        return max(one, other) if self._higher else min(one, other)


def _status(row: Row) -> str:
    return row.outcome.status if row.outcome is not None else ""


def told(job: Job) -> str:
    """What tells a job from the others, as typed."""
    return " ".join(job.varies or job.overrides) or "(the config as it is)"
