"""One slot at work: which process it has, which job that is at, and how the job ended."""

from __future__ import annotations

import math
import os
import queue
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from expkit.processes import kill_group
from expkit.sweeping.crash import crash_site
from expkit.sweeping.jobs import CRASHED, FAILED, FINISHED, KILLED, PRUNED, TIMEOUT, Job, Outcome, Report
from expkit.sweeping.process import Process, ending_of, oom_kills
from expkit.sweeping.slots import Slot
from expkit.sweeping.wire import pack_job, unpack

CAN_FORK = hasattr(os, "fork")
_OF_NATIVE_CODE = {int(getattr(signal, name, 0)) for name in ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL")} - {0}
_PREPARATION = 300.0
"""Seconds that a server may take to import, on a slow or busy disk, before `timeout` begins to count."""


@dataclass
class Running:
    """A job that a process is at.

    Attributes:
        job: which one.
        attempt: counts from 1.
        since: when its first process was asked for it.
        pid: of the process that trains it; 0 until that is known.
        deadline: when it is given up.
        kill_at: when it is killed, after it was asked to end.
        asked: TIMEOUT or KILLED where it was asked to end.
        why: it was, in words.
        killed: whether it had to be killed then.
        outcome: as it told it itself.
        best: value of its best epoch so far.
        best_metrics: of that epoch.
        oom_kills: as counted when it began.
    """

    job: Job
    attempt: int
    since: float
    pid: int = 0
    deadline: float = math.inf
    kill_at: float = math.inf
    asked: str = ""
    why: str = ""
    killed: bool = False
    outcome: Outcome | None = None
    best: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    oom_kills: int | None = None

    def note(self, report: Report) -> None:
        """Remember the best epoch, for a process that dies before it can tell."""
        value = report.monitored
        if value is None or math.isnan(value):
            return
        if self.best is None or (value > self.best if report.higher_is_better else value < self.best):
            self.best, self.best_metrics = value, report.metrics


class Place:
    """A slot, its process and its job.

    Args:
        slot: where.
        heard: gets what its processes say, as `Process` does.
        timeout: seconds after which a job is given up; None: never.
        grace: seconds that a job has to save and end when it is asked to.

    Attributes:
        slot: as above.
        running: the job that it is at; None when it is free.
    """

    def __init__(
        self, slot: Slot, heard: queue.Queue[tuple[Process, Any]], *, timeout: float | None, grace: float
    ) -> None:
        self.slot = slot
        self._heard, self._timeout, self._grace = heard, timeout, grace
        self.process: Process | None = None
        self.running: Running | None = None

    @property
    def is_warm(self) -> bool:
        """Whether it has a process that has imported, or is about to."""
        return self.process is not None and self.process.is_alive()

    def begin(self, job: Job, attempt: int = 1, before: Running | None = None, note: str = "") -> None:
        """Begin a job.

        Args:
            job: to run.
            attempt: counts from 1.
            before: the attempt before this one.
            note: for its output.
        """
        # A forked process cannot use a GPU that its parent has seen, so that jobs on GPUs begin from nothing.
        forks = CAN_FORK and self.slot.kind == "cpu"
        if not self.is_warm or self.process is None or not self.process.forks:
            self._end_process()
            self.process = Process(self.slot, self._heard, {} if forks else job.environment, forks=forks)
        now = time.monotonic()
        running = Running(job, attempt, before.since if before else now, oom_kills=oom_kills())
        if before:
            running.best, running.best_metrics = before.best, before.best_metrics
        if self._timeout is not None:  # a server that still imports must not cost the job its time
            running.deadline = now + self._timeout + (_PREPARATION if forks else 0.0)
        if not forks:
            running.pid = self.process.pid
        self.running = running
        self.process.send({"job": pack_job(job), "note": note})

    def hear(self, message: Mapping[str, Any] | None) -> Report | Outcome | None:
        """Take in what its process says.

        Args:
            message: of it; None when it has ended.

        Returns:
            A report of the job, or how it has ended, or None.
        """
        running = self.running
        if message is None:
            return self._lost()
        if running is None:
            return None
        if "started" in message:
            running.pid = int(message["started"])
            if running.attempt == 1:  # what its server took to import is no time of the job
                running.since = time.monotonic()
            if self._timeout is not None:
                running.deadline = time.monotonic() + self._timeout
            if running.asked:  # while its process was on its way
                self._signal(running.pid)
        if "ended" in message:
            return self._ended(int(message["ended"]))
        told = unpack(message)
        if isinstance(told, Report):
            running.note(told)
            return told
        if told is not None:
            running.outcome = told
        return None

    def answer(self, stop: bool) -> None:
        """Answer to a report."""
        if self.process is not None:
            self.process.send({"stop": stop})

    def look(self, now: float) -> None:
        """Ask a job to end whose time is over, and kill one that was asked and did not."""
        running = self.running
        if running is None:
            return
        if now >= running.deadline and not running.asked:
            self.ask(TIMEOUT, f"given up after {self._timeout:g} s (sweep.timeout)", self._grace)
        if now >= running.kill_at:
            self.kill()
        if self.process is not None and not self.process.is_alive() and running.pid:
            kill_group(running.pid)  # a server that died; where the system does not do it, we do

    def ask(self, status: str, why: str, grace: float) -> None:
        """Ask a job to save and end.

        Args:
            status: that it will have: TIMEOUT or KILLED.
            why: in words.
            grace: seconds after which it is killed.
        """
        running = self.running
        if running is None or self.process is None:
            return
        running.asked, running.why, running.kill_at = status, why, time.monotonic() + grace
        if running.pid:
            self._signal(running.pid)
        else:  # it has not begun, and its server is only importing
            self.process.kill()

    def kill(self) -> None:
        """Kill the job's process, and all that it started."""
        if self.running is not None and self.running.pid:
            self.running.killed = True
            kill_group(self.running.pid)
        elif self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """Kill whatever is left."""
        self.kill()
        if self.process is not None:
            self.process.kill()
        self._end_process()

    def _end_process(self) -> int:
        code = 0 if self.process is None else self.process.close()
        self.process = None
        return code

    def _signal(self, pid: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)

    def _lost(self) -> Outcome | None:
        """Its process has ended: a worker at the end of its job, a server never while it is at one."""
        process, running = self.process, self.running
        if process is None:
            return None
        words = process.last_words()
        if running is not None and running.pid:
            kill_group(running.pid)
        code = self._end_process()
        if running is None:
            return None
        if not process.forks:
            return self._ended(code, words)
        if code < 0:
            ending = "its server was " + ending_of(code, self._out_of_memory(running))
            return self._as_asked(Outcome(CRASHED, ending))
        return self._as_asked(Outcome(FAILED, f"its process could not be prepared: {words or f'exit code {code}'}"))

    def _ended(self, code: int, words: str = "") -> Outcome:
        running = self.running
        assert running is not None
        told = running.outcome
        if told is None:
            site = crash_site(running.job) if -code in _OF_NATIVE_CODE else ""
            reason = ending_of(code, self._out_of_memory(running), site)
            told = Outcome(CRASHED if code < 0 else FAILED, f"{reason}: {words}" if words and code > 0 else reason)
        return self._as_asked(told)

    def _as_asked(self, told: Outcome) -> Outcome:
        """Complete how a job ended by what it was asked, and free the place."""
        running, self.running = self.running, None
        assert running is not None
        status, reason = told.status, told.reason
        if running.asked and status in (KILLED, CRASHED, *((FAILED,) if running.outcome is None else ())):
            torn = running.killed and running.outcome is None
            hard = "; killed before it had saved" if torn else ""
            status, reason = running.asked, running.why + hard
        if status in (FINISHED, PRUNED) or told.value is not None:
            value, metrics = told.value, told.metrics
        else:
            value, metrics = running.best, running.best_metrics
        return replace(
            told,
            status=status,
            reason=reason,
            value=value,
            metrics=metrics,
            seconds=time.monotonic() - running.since,
            attempts=running.attempt,
        )

    def _out_of_memory(self, running: Running) -> bool:
        now = oom_kills()
        return now is not None and running.oom_kills is not None and now > running.oom_kills
