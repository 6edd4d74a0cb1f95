"""The one thread that runs a model: networks are not for several threads at once, and a queue has to end somewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class BusyError(Exception):
    """As many jobs wait as may."""


class Worker:
    """Does one job after the other, in a thread of its own.

    The model is loaded there, too: Paddle keeps the device that it computes on for each thread.

    Args:
        waiting: jobs that may wait for the one that is being done.
    """

    def __init__(self, waiting: int) -> None:
        self._most = waiting + 1
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._pending, self._lock = 0, threading.Lock()
        self._thread = threading.Thread(target=self._work, name="expkit-model", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Result]) -> Future[Result]:
        """Put a job at the end of the queue.

        Raises:
            BusyError: the queue is full.
        """
        with self._lock:
            if self._pending >= self._most:
                raise BusyError
            self._pending += 1
        future: Future[Result] = Future()
        self._jobs.put((future, job))
        return future

    async def do(self, job: Callable[[], Result], seconds: float) -> Result:
        """Do a job and return its result.

        A job whose time is over before it began is never begun; one that has begun has to end by itself.

        Args:
            job: what to do.
            seconds: until then it has to be done.

        Raises:
            BusyError: the queue is full.
            TimeoutError: it is not done in time.
        """
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.submit(job)), seconds)
        except asyncio.TimeoutError as error:
            raise TimeoutError from error

    def close(self, seconds: float = 5.0) -> None:
        """Let the thread end, when it has done what it is doing; wait for it no longer than that."""
        self._jobs.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (order := self._jobs.get()) is not None:
            future, job = order
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                    future.set_exception(error)
            with self._lock:
                self._pending -= 1
