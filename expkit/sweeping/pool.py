"""Runs the jobs of a sweep in processes of this machine: a fresh one for each, as many at a time as there are slots."""

from __future__ import annotations

import queue
from dataclasses import replace
from typing import Any

from rich.console import Console

from expkit.interrupts import StopRequests
from expkit.processes import usable_cores
from expkit.settings import SweepSettings
from expkit.sweeping.dispatch import Dispatch
from expkit.sweeping.jobs import Source, Watcher
from expkit.sweeping.needs import Need, Width
from expkit.sweeping.place import Place
from expkit.sweeping.slots import Slot, find_slots, refuse_unfit


class LocalPool:
    """The `Executor` of this machine.

    Args:
        settings: the node `sweep` of the config.
        width: of the widest job.
        console: where it says that it waits for jobs to end; stderr by default.
        jobs: there are at most, where that is known: few jobs share all cores.
        slots: where to run; found by `settings` by default.

    Raises:
        ConfigError: a device is not there; says what is.
    """

    def __init__(
        self,
        settings: SweepSettings,
        width: Width,
        console: Console | None = None,
        *,
        jobs: int | None = None,
        slots: list[Slot] | None = None,
    ) -> None:
        self._settings = settings
        most = min((limit for limit in (settings.jobs, jobs) if limit), default=None)
        self._slots = find_slots(replace(settings, jobs=most), width) if slots is None else slots
        self._console = console or Console(stderr=True, highlight=False)

    @property
    def slots(self) -> list[str]:
        """Names of the places that run one job each at a time."""
        return [slot.name for slot in self._slots]

    def refuse_unfit(self, need: Need) -> None:
        """Refuse a job that asks for devices which it may not get here; to be asked before any job starts.

        Raises:
            ConfigError: it wants a GPU where a slot has none, or one by its number, or more devices than cores.
        """
        refuse_unfit(self._slots, need, len(usable_cores()))

    def run(self, source: Source, watcher: Watcher) -> None:
        """Run jobs until the source has none and all have ended.

        Raises:
            Stopped: somebody asked to stop; the running jobs have saved and ended, or were killed.
        """
        with StopRequests() as stop, stop.shielded():  # shielded: a second Ctrl-C is for us to act on
            heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
            timeout, grace = self._settings.timeout, self._settings.grace
            places = [Place(slot, heard, timeout=timeout, grace=grace) for slot in self._slots]
            dispatch = Dispatch(lambda: places, heard, self._settings, self._console, source, watcher, stop)
            try:
                dispatch.run()
            finally:
                dispatch.close()
        if stop():
            raise stop.stopped(saved=not dispatch.lost)
