"""Runs the jobs of a sweep in processes of this machine: a fresh one for each, as many at a time as there are slots."""

from __future__ import annotations

import queue
import signal
import time
from dataclasses import replace
from typing import Any

from rich.console import Console

from expkit.interrupts import StopRequests
from expkit.settings import DeviceSettings, SweepSettings
from expkit.sweeping.jobs import CRASHED, FAILED, KILLED, TIMEOUT, Job, Outcome, Source, Watcher
from expkit.sweeping.mending import Mender, mend_record
from expkit.sweeping.place import Place, Running
from expkit.sweeping.process import Process
from expkit.sweeping.slots import Slot, find_slots, refuse_unfit

_TICK = 0.1
"""Longest time in seconds from one look at clocks and signals to the next."""


class LocalPool:
    """The `Executor` of this machine.

    Args:
        settings: the node `sweep` of the config.
        threads: most `device.threads` of the jobs.
        console: where it says that it waits for jobs to end; stderr by default.
        slots: where to run; found by `settings` by default.

    Raises:
        ConfigError: a device is not there; says what is.
    """

    def __init__(
        self,
        settings: SweepSettings,
        threads: int,
        console: Console | None = None,
        *,
        slots: list[Slot] | None = None,
    ) -> None:
        self._settings = settings
        self._slots = find_slots(settings, threads) if slots is None else slots
        self._console = console or Console(stderr=True, highlight=False)

    @property
    def slots(self) -> list[str]:
        """Names of the places that run one job each at a time."""
        return [slot.name for slot in self._slots]

    def refuse_unfit(self, device: DeviceSettings) -> None:
        """Refuse a job that asks for a device which it may not get here; to be asked before any job starts.

        Raises:
            ConfigError: it wants a GPU where a slot has none, or one by its number.
        """
        refuse_unfit(self._slots, device.name, device.index)

    def run(self, source: Source, watcher: Watcher) -> None:
        """Run jobs until the source has none and all have ended.

        Raises:
            Stopped: somebody asked to stop; the running jobs have saved and ended, or were killed.
        """
        with StopRequests() as stop, stop.shielded():  # shielded: a second Ctrl-C is for us to act on
            sweep = _Sweep(self._slots, self._settings, self._console, source, watcher, stop)
            try:
                sweep.run()
            finally:
                sweep.close()
        if stop():
            raise stop.stopped(saved=not sweep.lost)


class _Sweep:
    """One run of a pool.

    Attributes:
        lost: whether a job was killed that had been asked to save.
    """

    def __init__(
        self,
        slots: list[Slot],
        settings: SweepSettings,
        console: Console,
        source: Source,
        watcher: Watcher,
        stop: StopRequests,
    ) -> None:
        self._settings, self._console = settings, console
        self._source, self._watcher, self._stop = source, watcher, stop
        self._heard: queue.Queue[tuple[Process, Any]] = queue.Queue()
        self._places = [Place(slot, self._heard, timeout=settings.timeout, grace=settings.grace) for slot in slots]
        self._mender = Mender()
        self._no_more = False
        self._asked = False
        self.lost = False

    def run(self) -> None:
        """Begin jobs and hear of them until all have ended."""
        self._fill()
        while any(place.running for place in self._places):
            self._hear()
            self._heed_requests()
            now = time.monotonic()
            for place in self._places:
                place.look(now)
            self._mender.work()
            self._watcher.tick()
            self._fill()

    def close(self) -> None:
        """Leave no process behind."""
        for place in self._places:
            place.close()
        self._mender.close()

    def _fill(self) -> None:
        """Begin a job on each free place, first on those whose process is there already."""
        for place in sorted(self._places, key=lambda one: not one.is_warm):
            if place.running is not None:
                continue
            if self._no_more or self._stop():
                return
            job = self._source.next()
            if job is None:
                return
            self._begin(place, job)

    def _begin(self, place: Place, job: Job, attempt: int = 1, before: Running | None = None, note: str = "") -> None:
        place.begin(job, attempt, before, note)
        self._watcher.started(job, place.slot.name, attempt)

    def _hear(self) -> None:
        """Wait a little for the next message, and take in all that are there."""
        try:
            process, message = self._heard.get(timeout=_TICK)
            while True:
                self._take_in(process, message)
                process, message = self._heard.get_nowait()
        except queue.Empty:
            return

    def _take_in(self, process: Process, message: Any) -> None:
        place = next((one for one in self._places if one.process is process), None)
        if place is None:  # the last words of one that is done
            return
        running = place.running
        told = place.hear(message)
        if running is None or told is None:
            return
        if isinstance(told, Outcome):
            self._ended(place, running, told)
            return
        self._watcher.reported(running.job, told)
        if told.metrics:
            end = self._source.reported(running.job, told)
            if running.job.prunes:
                place.answer(end)

    def _ended(self, place: Place, running: Running, outcome: Outcome) -> None:
        job = running.job
        if outcome.status == CRASHED and running.attempt <= self._settings.retries and not self._stop():
            note = f"--- attempt {running.attempt + 1}: the one before was {outcome.reason} ---"
            self._begin(place, replace(job, resume=True), running.attempt + 1, running, note)
            return
        died = running.outcome is None
        if died or outcome.status == TIMEOUT:
            self.lost = self.lost or running.killed
            status = "KILLED" if outcome.status in (KILLED, TIMEOUT) else "FAILED"
            if mend_record(job.folder, status, outcome.reason):
                self._mender.add(job.folder)
        self._watcher.ended(job, outcome)
        self._source.ended(job, outcome)
        if outcome.status in (FAILED, CRASHED, TIMEOUT) and self._settings.on_error == "stop" and not self._no_more:
            self._no_more = True
            self._say(f"job {job.number} failed: no more are begun (sweep.on_error=stop)", "those that run go on")

    def _heed_requests(self) -> None:
        """Pass on a request to stop; the second Ctrl-C kills."""
        if not self._stop():
            return
        why = f"stopped by {signal.Signals(self._stop.signal or signal.SIGINT).name}"
        if not self._asked:
            self._asked = True
            for place in self._places:
                place.ask(KILLED, why, self._settings.grace)
            self._say("stopping", f"they have {self._settings.grace:g} s to save and end; Ctrl-C again kills them")
        if self._stop.urgent:
            for place in self._places:
                place.kill()

    def _say(self, what: str, of_those: str) -> None:
        count = sum(place.running is not None for place in self._places)
        running = f"; {count} {'jobs run' if count > 1 else 'job runs'}: {of_those}" if count else ""
        self._console.print(f"{what}{running}", markup=False, soft_wrap=True)
