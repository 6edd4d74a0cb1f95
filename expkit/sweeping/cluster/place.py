"""A place on a node, as the sweep sees it: the same as one of this machine, with its process far away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from expkit.sweeping.jobs import CRASHED, Job, Outcome, Report
from expkit.sweeping.place import Running
from expkit.sweeping.slots import Slot
from expkit.sweeping.wire import pack_job, unpack

_IDLE = 5.0
"""Seconds after which a place without a job gives its resources back to the cluster."""
_LATE = 10.0
"""Seconds that a node may take to say that a job has ended which was to be killed."""


class FarPlace:
    """A slot of a node.

    Args:
        slot: its name, and most threads of a job.
        node: id of its node.
        open_seat: makes a `Seat` on its node; returns the handle of the actor.
        post: puts a message into the queue of the sweep.

    Attributes:
        slot: as above.
        node: as above.
        process: the actor's handle; None where there is none.
        running: the job that it is at; None when it is free.
        known: how many messages of the actor are known.
        lost: number of the job that was here when the node died; None before.
    """

    def __init__(
        self, slot: Slot, node: str, open_seat: Callable[[FarPlace], Any], post: Callable[[Any, Any], None]
    ) -> None:
        self.slot, self.node = slot, node
        self._open_seat, self._post = open_seat, post
        self.process: Any = None
        self.running: Running | None = None
        self.known = 0
        self.lost: int | None = None
        self._here = False
        self._idle_since = 0.0

    @property
    def is_warm(self) -> bool:
        """Whether it has an actor."""
        return self.process is not None

    def begin(self, job: Job, attempt: int = 1, before: Running | None = None, note: str = "") -> None:
        """Begin a job; see `place.Place`."""
        if self.process is None:
            self.known = 0
            self.process = self._open_seat(self)
        self._here = False
        self.running = Running(job, attempt, before.since if before else time.monotonic())
        if before:
            self.running.best, self.running.best_metrics = before.best, before.best_metrics
        self.process.do.remote("begin", pack_job(job), attempt, note)

    def hear(self, message: Mapping[str, Any] | None) -> Report | Outcome | None:
        """Take in what its actor tells, or what is told of that."""
        running = self.running
        if message is None or "gone" in message:
            self._let_go()
            if running is not None and message and message.get("node"):
                self.lost = running.job.number
            if self.lost is not None and running is not None and not self._here:
                running.attempt -= 1  # it had not begun, so that this does not count
            return self._end(Outcome(CRASHED, "" if message is None else str(message["gone"])))
        if running is None:
            return None
        if "here" in message:
            self._here = True
            return None
        told = unpack(message)
        if isinstance(told, Report):
            running.note(told)
        elif told is not None:
            running.outcome = None if message.get("died") else told
            running.killed = bool(message.get("killed"))
            return self._end(told)
        return told

    def answer(self, stop: bool) -> None:
        """Answer to a report."""
        if self.process is not None:
            self.process.do.remote("answer", stop)

    def look(self, now: float) -> None:
        """Give up a node that does not answer, and an actor that has nothing to do; its seat looks at the clock."""
        running = self.running
        if running is not None and now >= running.kill_at:
            running.killed = True
            self._give_up(f"{running.why}; {self.slot.name} did not say that it has ended, and was cut off")
        if running is None and self.process is not None and now - self._idle_since > _IDLE:
            self._let_go()

    def ask(self, status: str, why: str, grace: float) -> None:
        """Ask a job to save and end; where it has not begun, that is its end."""
        running = self.running
        if running is None or self.process is None:
            return
        running.asked, running.why = status, why
        running.kill_at = time.monotonic() + grace + _LATE
        if self._here:
            self.process.do.remote("ask", status, why, grace)
        else:
            self._give_up(f"{why}; it had not begun")

    def kill(self) -> None:
        """Kill the job's process, and all that it started."""
        running = self.running
        if running is None or self.process is None:
            return
        running.killed = True
        running.kill_at = min(running.kill_at, time.monotonic() + _LATE)
        self.process.do.remote("kill")

    def close(self) -> None:
        """End its actor, with all that this has started."""
        self._let_go()

    def _give_up(self, reason: str) -> None:
        """End a job without its word."""
        running, actor = self.running, self.process
        if running is not None:
            running.kill_at = math.inf
            self._post(actor, {"gone": reason})

    def _let_go(self) -> None:
        actor, self.process = self.process, None
        if actor is not None:
            import ray

            ray.kill(actor)

    def _end(self, told: Outcome) -> Outcome | None:
        running, self.running = self.running, None
        self._idle_since = time.monotonic()
        if running is None:
            return None
        status, reason = told.status, told.reason
        if running.asked and status == CRASHED:
            status, reason = running.asked, reason or running.why
        value, metrics = (told.value, told.metrics) if told.value is not None else (running.best, running.best_metrics)
        seconds = told.seconds if running.attempt == 1 else 0.0  # the node knows when its process was there
        return Outcome(status, reason, value, metrics, seconds or time.monotonic() - running.since, running.attempt)
