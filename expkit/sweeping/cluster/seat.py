"""The end of a place that lies on a node: an actor, which has a slot's resources, and the processes of its jobs."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from expkit.errors import ConfigError, RunLockedError
from expkit.lock import RunLock
from expkit.sweeping.jobs import Job, Outcome
from expkit.sweeping.place import Place
from expkit.sweeping.slots import Slot
from expkit.sweeping.wire import pack, unpack_job

_TICK = 0.1
_LOCKED_SECONDS = 120.0
"""Longest wait for the process of an attempt whose node was given up: cut off from the others, it may live a while."""


class Seat:
    """Trains one job at a time, as the local pool's places do, and remembers what there is to tell.

    Args:
        name: of its slot.
        threads: most `device.threads` of the jobs.
        limits: `timeout` and `grace` of the sweep.
        environment: variables that the machine of the command has and this one is to have.
        folder: where the command was typed; its jobs run there too, if this machine has it.
    """

    def __init__(
        self, name: str, threads: int, limits: Mapping[str, Any], environment: Mapping[str, str], folder: str
    ) -> None:
        os.environ.update(environment)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # as Ray has set it, by what this actor asked for
        self._heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._place = Place(Slot(name, "gpu" if gpu else "cpu", None, threads, gpu), self._heard, **limits)
        self._told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        # One thread does it all: the system kills a process when the thread that started it ends.
        threading.Thread(target=self._work, name="expkit-seat", daemon=True).start()

    def do(self, what: str, *details: Any) -> None:
        """Begin a job, answer, ask it to end, or kill it; see `Place`."""
        self._heard.put((None, (what, details)))

    def tell(self, since: int, wait: float) -> list[dict[str, Any]]:
        """Return what there is to tell.

        Args:
            since: how many messages are known already.
            wait: longest wait in seconds for the next one.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._told) > since, wait)
            return self._told[since:]

    def _work(self) -> None:
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    process, message = self._heard.get(timeout=_TICK)
                    if process is None:
                        getattr(self, f"_{message[0]}")(*message[1])
                    elif process is self._place.process:
                        self._hear(message)
                self._place.look(time.monotonic())
        finally:
            traceback.print_exc()
            os._exit(1)  # the sweep hears of that, and not of a thread that is gone

    def _hear(self, message: Any) -> None:
        running = self._place.running
        told = self._place.hear(message)
        if told is None or running is None:
            return
        ended = isinstance(told, Outcome)
        self._tell({**pack(told), **({"died": running.outcome is None, "killed": running.killed} if ended else {})})

    def _tell(self, message: dict[str, Any]) -> None:
        with self._changed:
            self._told.append(message)
            self._changed.notify_all()

    def _begin(self, values: Mapping[str, Any], attempt: int, note: str) -> None:
        job = unpack_job(values)
        self._tell({"here": True})
        if attempt > 1:
            _wait_for_lock(job)
        self._place.begin(job, attempt, None, note)

    def _answer(self, stop: bool) -> None:
        self._place.answer(stop)

    def _ask(self, status: str, why: str, grace: float) -> None:
        self._place.ask(status, why, grace)

    def _kill(self) -> None:
        self._place.kill()


def _wait_for_lock(job: Job) -> None:
    until = time.monotonic() + _LOCKED_SECONDS
    while time.monotonic() < until:
        try:
            with RunLock(job.folder):
                return
        except RunLockedError:
            time.sleep(0.5)
        except ConfigError:  # the run will say it
            return
