"""Metric points on their way to the store: a bounded buffer that one background thread empties."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

CAPACITY = 50_000
"""Points that may wait (about 10 MB)."""
BATCH = 1000
"""MLflow takes at most so many metrics in one call."""
INTERVAL = 1.0
"""Seconds between two writes, so that the UI follows a running training."""
CLOSE_SECONDS = 30.0
"""Longest wait for the last points."""


class Point(NamedTuple):
    """One value of one metric; its time makes a second attempt to store it harmless.

    Attributes:
        key: name of the metric.
        value: may be NaN or infinite.
        timestamp: milliseconds since 1970.
        step: position on the x axis.
    """

    key: str
    value: float
    timestamp: int
    step: int


class MetricWriter:
    """Hands points to `send` in the background, in order, in batches.

    Whoever puts a point waits only when the buffer is full and the store is healthy; when it is full and
    the store fails, points are dropped and counted.

    Args:
        send: stores a batch; answers False when that failed.
        capacity: points that may wait.
        interval: seconds between two writes.
    """

    def __init__(
        self, send: Callable[[Sequence[Point]], bool], *, capacity: int = CAPACITY, interval: float = INTERVAL
    ) -> None:
        self._send = send
        self._capacity = capacity
        self._interval = interval
        self._points: deque[Point] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._failing = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="expkit-metrics", daemon=True)
        self._thread.start()

    def put(self, points: Sequence[Point]) -> None:
        """Take points; returns at once unless the buffer is full."""
        with self._changed:
            waiting = len(self._points)
            if waiting + len(points) > self._capacity:
                waiting = self._make_room(len(points))
                if waiting < 0:
                    return
            self._points.extend(points)
            if waiting < BATCH <= waiting + len(points):
                self._changed.notify_all()

    def pending(self) -> list[Point]:
        """Return the points that are not stored yet, in order; some may be on their way."""
        with self._changed:
            return list(self._points)

    def close(self, timeout: float = CLOSE_SECONDS) -> int:
        """Write what is left and end the thread; return the number of points that were not stored."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            return len(self._points) + self._dropped

    def _make_room(self, needed: int) -> int:
        """Wait for room; return the points that wait then, or -1 when the new ones had to be dropped."""
        while len(self._points) + needed > self._capacity:
            if self._failing or self._closing:
                self._dropped += needed
                return -1
            self._changed.wait()
        return len(self._points)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._closing and (self._failing or len(self._points) < BATCH):
                    self._changed.wait(self._interval)
                batch = list(islice(self._points, BATCH))
                closing = self._closing
            stored = self._send(batch) if batch else True
            with self._changed:
                self._failing = not stored
                if stored:
                    for _ in batch:
                        self._points.popleft()
                self._changed.notify_all()
                if closing and (not stored or not self._points):
                    return


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
