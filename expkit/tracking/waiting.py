"""What a run says while it waits for its store, at its start and at its end."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from expkit.tracking.delivery import Delivery
from expkit.tracking.sender import STUCK_SECONDS
from expkit.tracking.store import StoreSettings
from expkit.tracking.text import masked

log_told = logging.getLogger("expkit.told")
"""What a user is to see of what is not a warning."""
QUIET_SECONDS = 8.0
"""A store that takes what is left within this time is waited for without a word; a model may take half of it."""
GRACE_SECONDS = 3.0
"""A store that is well takes what is left within this time: twice Ctrl-C, as impatience has it, must not lose that."""
OPENING_SECONDS = 15.0
"""One that is opened is waited for so long without a word."""


class Wait:
    """Asked often while a store is waited for, whether to go on; says once for what, how long, and how to leave.

    Args:
        folder: of the run.
        settings: of the store.
        hurried: whether somebody asked not to wait any longer.
    """

    def __init__(self, folder: Path, settings: StoreSettings, hurried: Callable[[], bool]) -> None:
        self._folder, self._settings, self._hurried = folder, settings, hurried
        self._leaves = time.monotonic() + GRACE_SECONDS
        self._speaks = time.monotonic() + QUIET_SECONDS

    def __call__(self) -> bool:
        """Whether to wait any longer."""
        if time.monotonic() > self._speaks:
            self._speaks = float("inf")
            delivery = Delivery(self._folder, self._settings)
            log_told.info(
                "Waiting for the tracking store %s to take what it lacks (%s), until it has not moved for %.0f s. "
                "Ctrl-C ends the wait and loses nothing: python -m expkit sync %s sends it later.",
                masked(delivery.uri),
                delivery.left(most=1) or "the run's end",
                STUCK_SECONDS,
                shlex.quote(str(self._folder)),
            )
        return time.monotonic() < self._leaves or not self._hurried()


class Opening:
    """Asked often while a store is opened, in which MLflow is imported, too; says once that it takes long.

    Args:
        uri: of the store.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self._speaks = uri, time.monotonic() + OPENING_SECONDS

    def __call__(self) -> bool:
        """Whether to wait any longer: always, for it is given up there."""
        if time.monotonic() > self._speaks:
            self._speaks = float("inf")
            log_told.info(
                "Waiting for the tracking store %s, which has not answered for %.0f s. It is given up after a minute "
                "or so; nothing has begun until then.",
                masked(self._uri),
                OPENING_SECONDS,
            )
        return True
