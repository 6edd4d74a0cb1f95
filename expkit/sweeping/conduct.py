"""Conducts a sweep: its lock, its ledger, who runs its jobs and who looks on, and what is shown when it is over."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from expkit.config import ExperimentConfig
from expkit.interrupts import SAVED
from expkit.lock import RunLock
from expkit.report import quote_path
from expkit.sweeping.jobs import (
    KILLED,
    Executor,
    Job,
    Outcome,
    Report,
    Source,
    Watcher,
    came_to_nothing,
    has_checkpoint,
)
from expkit.sweeping.ledger import LEDGER, Head, Ledger, Row, read_ledger
from expkit.sweeping.parent_run import NoParent, Sweep, open_parent
from expkit.sweeping.ranking import conclude
from expkit.sweeping.results import of_jobs
from expkit.sweeping.salvage import lost_rows, say_what_was_lost
from expkit.sweeping.standing import NOTHING, Before
from expkit.sweeping.view import View, open_view
from expkit.tracking import masked


@dataclass(frozen=True)
class Plan:
    """What is known of a sweep before it starts.

    Attributes:
        config: of any of its jobs.
        shared: overrides that all jobs share.
        varies: names of what they do not share.
        jobs: how many there are; None where a search decides on them as it goes.
        before: what was done before this start.
        axes: those names of what they do not share that each job has; by default all of them.
    """

    config: ExperimentConfig
    shared: Sequence[str] = ()
    varies: Sequence[str] = ()
    jobs: int | None = None
    before: Before = NOTHING
    axes: Sequence[str] | None = None

    @property
    def left(self) -> int | None:
        """How many are to be run, at least 1; None where a search decides."""
        return None if self.jobs is None else max(self.jobs - self.before.done, 1)


class Ending(Protocol):
    """What a search adds to the end of its sweep."""

    @property
    def reached(self) -> bool:
        """Whether it has come to what was wanted, whatever jobs failed on the way."""

    def __call__(self, console: Console) -> Sequence[Path]:
        """Show what is special about it; returns files for the tracking store."""


class Conductor:
    """One sweep, from its lock to its table.

    First `lock`, then `begin`, then `conduct` once or more, and at the end `close`, whatever happened.

    Args:
        folder: of the sweep; absolute.
        head: what its ledger says first.
        console: where to.

    Attributes:
        parent: the run that stands for the sweep in the tracking store; the runs of its jobs carry its tags.
        jobs: by number.
        outcomes: of those that have ended, by number.
        ending: of a search; None for a grid.
    """

    def __init__(self, folder: Path, head: Head, console: Console) -> None:
        self.folder, self.console = folder, console
        self.parent = NoParent()
        self.jobs: dict[int, Job] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.ending: Ending | None = None
        self._head = head
        self._lost: Sequence[Row] = ()
        self._started: set[int] = set()
        self._ledger: Ledger | None = None
        self._plan: Plan | None = None
        self._executor: Executor | None = None
        self._watchers: list[Watcher] = []
        self._locked, self._shown = ExitStack(), ExitStack()

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return self._ledger is not None

    def lock(self) -> list[Row]:
        """Keep other processes from this sweep, and return what its ledger has, or its run folders where that has not.

        Raises:
            RunLockedError: another process conducts it; names that.
            ConfigError: its folder cannot be written, or its ledger not be read.
        """
        if self._ledger is not None:
            return list(self._ledger.rows.values())
        self._locked.enter_context(RunLock(self.folder, "is a sweep that is being run by"))
        rows = read_ledger(self.folder)[1] if (self.folder / LEDGER).exists() else []
        self._lost = lost_rows(self.folder, rows)
        told = say_what_was_lost(self.folder, self._lost)
        if told:
            self.console.print(f"{'ledger':<11} {told}", soft_wrap=True, markup=False)
        return [*rows, *self._lost]

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody else, too, what becomes of the jobs."""
        self._watchers.append(watcher)

    def begin(self, plan: Plan, executor: Executor) -> None:
        """Open the ledger, the run that stands for the sweep, and the view.

        Args:
            plan: what is known of the sweep.
            executor: who runs its jobs.

        Raises:
            TrackingError: the store cannot be used; nothing was written.
        """
        self._plan, self._executor = plan, executor
        command = masked(shlex.join(["python", "-m", "expkit", *self._head.arguments]))
        known = Sweep(
            self.folder,
            plan.config,
            command,
            plan.shared,
            plan.varies,
            plan.jobs,
            plan.before,
            self._head.name,
            plan.axes,
        )
        self.parent = open_parent(known)
        self._ledger = Ledger(self.folder, self._head, self._lost)
        style = plan.config.trainer.progress
        view: View = open_view(self.console, plan.jobs, before=plan.before, aim=known.aim, style=style)
        self._watchers += [self._ledger, self.parent, self._shown.enter_context(view)]

    def add(self, jobs: Sequence[tuple[Job, str]], outcomes: Mapping[int, Outcome]) -> None:
        """Take in jobs that are known beforehand.

        Args:
            jobs: each with the hash of its whole config.
            outcomes: of those that are done, by number.
        """
        assert self._ledger is not None
        self.jobs.update({job.number: job for job, _ in jobs})
        self.outcomes.update(outcomes)
        self._ledger.add(jobs)

    def conduct(self, source: Source) -> None:
        """Run all jobs of a source.

        Raises:
            Stopped: somebody asked to stop.
        """
        assert self._executor is not None
        self._executor.run(source, self)

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Tell all who look on that a job was started."""
        self.jobs[job.number] = job
        self._started.add(job.number)
        for watcher in self._watchers:
            watcher.started(job, slot, attempt, after)

    def reported(self, job: Job, report: Report) -> None:
        """Tell all who look on how far a job is."""
        for watcher in self._watchers:
            watcher.reported(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Tell all who look on how a job ended."""
        self.outcomes[job.number] = outcome
        for watcher in self._watchers:
            watcher.ended(job, outcome)

    def tick(self) -> None:
        """Let time pass for all who look on."""
        for watcher in self._watchers:
            watcher.tick()

    def close(self, error: BaseException | None = None) -> int:
        """Show and record what came of the sweep, and let go of it.

        Args:
            error: what ended it before its time.

        Returns:
            1 if a job failed that no other one made up for, 75 if one was stopped, else 0.
        """
        with self._locked:
            self._shown.close()
            if self._ledger is None or self._plan is None:
                return 0
            self._conclude(error)
            self._ledger.close()
        if not self._made_up_for and any(came_to_nothing(one.status) for one in self.outcomes.values()):
            return 1
        return SAVED if any(outcome.status == KILLED for outcome in self.outcomes.values()) else 0

    @property
    def _made_up_for(self) -> bool:
        """Whether a search has all that was wanted of it, whatever jobs failed on the way."""
        return self.ending is not None and self.ending.reached

    def _conclude(self, error: BaseException | None) -> None:
        entries = of_jobs([self.jobs[number] for number in sorted(self.jobs)], self.outcomes)
        stopped = str(error) or "stopped" if isinstance(error, KeyboardInterrupt) else ""
        broken = f"{type(error).__name__}: {error}" if error is not None and not stopped else ""
        files: Sequence[Path] = ()
        try:
            conclude(self.folder, self.console, entries)
            files = () if self.ending is None else self.ending(self.console)
            if self.parent.where():
                self.console.print(f"{'compare':<11} {self.parent.where()}", soft_wrap=True, markup=False)
            if not self._made_up_for:
                self._say_how_to_go_on(stopped, broken)
        finally:  # whatever cannot be shown
            made_up_for = self._made_up_for
            self.parent.finish(entries, stopped=stopped, failed=broken, files=files, made_up_for=made_up_for)

    def _say_how_to_go_on(self, stopped: str, broken: str) -> None:
        states = [outcome.status for outcome in self.outcomes.values()]
        bad = sum(map(came_to_nothing, states))
        stopped_jobs = [number for number, outcome in self.outcomes.items() if outcome.status == KILLED]
        saved = [number for number in stopped_jobs if has_checkpoint(self.jobs[number].folder)]
        torn = sorted(number for number in saved if self.outcomes[number].killed)
        early, left = len(stopped_jobs) - len(saved), len(self.jobs) - len(states)
        cut = len(self._started - set(self.outcomes))
        done = len(states) - bad - len(stopped_jobs)
        command = f"python -m expkit resume-sweep {quote_path(self.folder)}"
        if stopped or broken or stopped_jobs or left:
            counts = {"done": done, "failed": bad, "stopped": len(saved) - len(torn)}
            counts[f"killed before {'it' if len(torn) == 1 else 'they'} could save ({_named(torn)})"] = len(torn)
            counts |= {"stopped before a first checkpoint": early, "broken off": cut, "not begun": left - cut}
            told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
            why = f"{stopped[:1].upper()}{stopped[1:]}. " if stopped else ""
            how = "To go on, what was killed from an earlier checkpoint" if torn else "To go on"
            self.console.print(f"{why}{told or 'No job was begun'}. {how}: {command}", soft_wrap=True, markup=False)
        elif bad:
            again = f"{command} sweep.retry_failed=true"
            self.console.print(f"{bad} failed. To try them again: {again}", soft_wrap=True, markup=False)


def _named(numbers: Sequence[int], most: int = 6) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return f"job{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers[:most]))}{more}"
