"""Runs in tracking stores, each in a folder of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from expkit.tracking import StoreSettings, Tracker, open_tracker


def begin(
    settings: StoreSettings, params: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None, **more: Any
) -> Tracker:
    """Begin a run in a fresh folder below the runs folder."""
    folder = settings.runs_dir / "runs" / f"20260101-120000-{secrets.token_hex(4)}"
    return open_tracker(settings, folder, params=params or {}, tags=tags or {}, **more)


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is there, as in a store that is written in the background; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not there within {seconds} s"
        time.sleep(0.1)
    return found
