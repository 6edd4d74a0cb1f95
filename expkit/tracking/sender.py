"""The thread that brings a run's journal into the store while the run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from expkit.errors import TrackingError
from expkit.tracking.delivery import Delivery
from expkit.tracking.store import logger
from expkit.tracking.text import explain, masked

INTERVAL = 1.0
"""Seconds between two looks, so that the UI follows a running training."""
REST_SECONDS = 10.0
"""After a failure the store is left alone this long."""
STUCK_SECONDS = 60.0
"""The end of a run waits so long for a call of the store to return."""
LONG_SECONDS = 5.0
"""A store that had so long since the run's end, and failed, is not tried once more: as one that another has locked."""
NOT_WAITED_FOR = "it was not waited for any longer"


class Sender:
    """Delivers in the background; a store that is gone never delays who writes the journal.

    Args:
        delivery: of the run's journal; belongs to this thread from `start` on.
        then: called once, after the first delivery that succeeded: sends what else there is, as long as its argument
            says so.
    """

    def __init__(self, delivery: Delivery, then: Callable[[Callable[[], bool]], object] | None = None) -> None:
        self._delivery, self._then = delivery, then
        self._wake = threading.Event()
        self._closing = self._idle = False
        self._closed_at = self._moved = time.monotonic()
        self._warned = False
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="expkit-tracking", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, wait: Callable[[], bool] = lambda: True) -> bool:
        """Send what is left and end the thread; returns whether all was sent.

        A store that fails is tried once more, and not waited for; nor is one whose call does not return.

        Args:
            wait: asked often; False ends it early.
        """
        self._closing = True
        self._closed_at = self._moved = time.monotonic()
        if not self._thread.is_alive() and self._delivery.is_behind():  # a signal tore the call before this one
            self._deliver()
        while self._thread.is_alive():
            self._wake.set()
            self._thread.join(0.05)
            if time.monotonic() - self._moved > STUCK_SECONDS:
                self.last_error = self.last_error or f"a call has not returned for {STUCK_SECONDS:.0f} s"
                return False
            if not wait():
                self.last_error = NOT_WAITED_FOR
                return False
        return not self._delivery.is_behind()

    def _run(self) -> None:
        rests_until, whole = 0.0, True
        while True:
            closing = self._closing  # read before: what was written until then is sent in this turn
            if closing or time.monotonic() >= rests_until:
                whole = self._deliver()
                rests_until = 0.0 if whole else time.monotonic() + REST_SECONDS
                if whole and self._then is not None and not closing:
                    then, self._then = self._then, None
                    then(lambda: self._goes_on() and not self._closing)
            if closing or (self._closing and not whole and time.monotonic() - self._closed_at > LONG_SECONDS):
                return
            self._wake.wait(INTERVAL)

    def _deliver(self) -> bool:
        try:
            self._delivery.deliver(self._goes_on)
        except TrackingError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the thread must live: it is the only one that sends
            self._failed(explain(error))
            return False
        if self._delivery.sent.owed:
            self._failed(self._delivery.trouble)
            return False
        return True

    def _goes_on(self) -> bool:
        self._moved = time.monotonic()
        return True

    def _failed(self, why: str) -> None:
        self.last_error = why
        if not self._warned and not self._closing:  # else the run's end says it
            self._warned = True
            logger.warning(
                "The tracking store %s does not take what the run tells it (%s). Training goes on; it is all in the "
                "run's folder, and sent when the store takes it again.",
                masked(self._delivery.uri),
                why.removesuffix("."),
            )
