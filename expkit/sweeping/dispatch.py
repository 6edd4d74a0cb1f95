"""Hands the jobs of a sweep to places, on this machine or others, and sees to what becomes of them."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rich.console import Console

from expkit.interrupts import StopRequests
from expkit.settings import SweepSettings
from expkit.sweeping.jobs import CRASHED, FAILED, KILLED, TIMEOUT, Job, Outcome, Report, Source, Watcher
from expkit.sweeping.mending import Mender, mend_record
from expkit.sweeping.place import Running
from expkit.sweeping.slots import Slot

_TICK = 0.1
"""Longest time in seconds from one look at clocks and signals to the next."""


class AnyPlace(Protocol):
    """What runs one job at a time; `place.Place` says what each of these does."""

    @property
    def slot(self) -> Slot: ...  # noqa: D102 - as said above

    @property
    def process(self) -> object | None: ...  # noqa: D102

    @property
    def running(self) -> Running | None: ...  # noqa: D102

    @property
    def is_warm(self) -> bool: ...  # noqa: D102

    def begin(self, job: Job, attempt: int = 1, before: Running | None = None, note: str = "") -> None: ...  # noqa: D102

    def hear(self, message: Mapping[str, Any] | None) -> Report | Outcome | None: ...  # noqa: D102

    def answer(self, stop: bool) -> None: ...  # noqa: D102

    def look(self, now: float) -> None: ...  # noqa: D102

    def ask(self, status: str, why: str, grace: float) -> None: ...  # noqa: D102

    def kill(self) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class _Waiting:
    """A job that has no place yet.

    Attributes:
        job: to begin.
        before: the attempt that died; None for the first one.
        outcome: of that.
    """

    job: Job
    before: Running | None = None
    outcome: Outcome | None = None


class Dispatch:
    """One sweep: from its first job to its last.

    Args:
        places: returns those that there are now; one that has died is left out once its job has ended.
        heard: gets (process of a place, message).
        settings: the node `sweep` of the config.
        console: where it says that it waits for jobs to end.
        source: where jobs come from.
        watcher: who looks on.
        stop: whether somebody asked to stop.

    Attributes:
        lost: whether a job was killed that had been asked to save.
    """

    def __init__(
        self,
        places: Callable[[], Sequence[AnyPlace]],
        heard: queue.Queue[tuple[Any, Any]],
        settings: SweepSettings,
        console: Console,
        source: Source,
        watcher: Watcher,
        stop: StopRequests,
    ) -> None:
        self._find_places, self._heard = places, heard
        self._settings, self._console = settings, console
        self._source, self._watcher, self._stop = source, watcher, stop
        self._places: Sequence[AnyPlace] = places()
        self._waiting: list[_Waiting] = []
        self._mender = Mender()
        self._no_more = False
        self._asked = False
        self.lost = False

    def run(self) -> None:
        """Begin jobs and hear of them until all have ended."""
        self._fill()
        while self._waiting or any(place.running for place in self._places):
            self._hear()
            self._heed_requests()
            now = time.monotonic()
            for place in self._places:
                place.look(now)
            self._mender.work()
            self._watcher.tick()
            self._places = self._find_places()
            self._fill()

    def close(self) -> None:
        """Leave no process behind."""
        for place in self._places:
            running = place.running
            place.close()
            if running is not None and mend_record(running.job.folder, "KILLED", "its sweep was broken off"):
                self._mender.add(running.job.folder)
        self._mender.close()

    def _fill(self) -> None:
        """Begin a job on each free place, first on those whose process is there already."""
        for place in sorted(self._places, key=lambda one: not one.is_warm):
            if place.running is None:
                waiting = self._next()
                if waiting is None:
                    return
                self._begin(place, waiting)
        if not self._places and not self._waiting:  # a sweep is not over because all machines are gone for now
            waiting = self._next()
            self._waiting = [] if waiting is None else [waiting]

    def _next(self) -> _Waiting | None:
        if self._stop():
            return None
        if self._waiting:
            return self._waiting.pop(0)
        job = None if self._no_more else self._source.next()
        return None if job is None else _Waiting(job)

    def _begin(self, place: AnyPlace, waiting: _Waiting) -> None:
        job, before, attempt, after, note = waiting.job, waiting.before, 1, "", ""
        if before is not None and waiting.outcome is not None:
            attempt, job = before.attempt + 1, replace(job, resume=True)
            after = waiting.outcome.reason
            note = f"--- attempt {attempt}; what ended the one before: {after} ---"
        place.begin(job, attempt, before, note)
        self._watcher.started(job, place.slot.name, attempt, after)

    def _hear(self) -> None:
        """Wait a little for the next message, and take in all that are there."""
        try:
            process, message = self._heard.get(timeout=_TICK)
            while True:
                self._take_in(process, message)
                process, message = self._heard.get_nowait()
        except queue.Empty:
            return

    def _take_in(self, process: object, message: Any) -> None:
        place = next((one for one in self._places if one.process is process), None)
        if place is None:  # the last words of one that is done
            return
        running = place.running
        told = place.hear(message)
        if running is None or told is None:
            return
        if isinstance(told, Outcome):
            self._ended(running, told)
            return
        self._watcher.reported(running.job, told)
        if told.metrics:
            end = self._source.reported(running.job, told)
            if running.job.prunes:
                place.answer(end)

    def _ended(self, running: Running, outcome: Outcome) -> None:
        if outcome.status == CRASHED and running.attempt <= self._settings.retries and not self._stop():
            self._waiting.append(_Waiting(running.job, running, outcome))
        else:
            self._conclude(running, outcome)

    def _conclude(self, running: Running, outcome: Outcome) -> None:
        """Tell of a job that will not be tried again."""
        job = running.job
        died = running.outcome is None
        if died or outcome.status == TIMEOUT:
            self.lost = self.lost or running.killed
            outcome = replace(outcome, killed=running.killed)
            status = "KILLED" if outcome.status in (KILLED, TIMEOUT) else "FAILED"
            if mend_record(job.folder, status, outcome.reason):
                self._mender.add(job.folder)
        self._watcher.ended(job, outcome)
        self._source.ended(job, outcome)
        if outcome.status in (FAILED, CRASHED, TIMEOUT) and self._settings.on_error == "stop" and not self._no_more:
            self._no_more = True
            self._say(f"job {job.number} failed: no more are begun (sweep.on_error=stop)")

    def _heed_requests(self) -> None:
        """Pass on a request to stop; the second Ctrl-C kills."""
        if not self._stop():
            return
        why = f"stopped by {signal.Signals(self._stop.signal or signal.SIGINT).name}"
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.before is not None and one.outcome is not None:
                self._conclude(one.before, one.outcome)
        if not self._asked:
            self._asked = True
            for place in self._places:
                place.ask(KILLED, why, self._settings.grace)
            self._say(why, f", with {self._settings.grace:g} s to save and end. Ctrl-C again kills at once")
        if self._stop.urgent:
            for place in self._places:
                place.kill()

    def _say(self, what: str, of_those: str = "") -> None:
        """Say what happens, and how many jobs run, if any does."""
        count = sum(place.running is not None for place in self._places)
        running = f". Still running: {count}{of_those}" if count else ""
        self._console.print(f"{what}{running}", markup=False, soft_wrap=True)
