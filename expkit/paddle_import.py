"""The import of Paddle: quiet, whole, and for all threads."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_mode: Any = None
"""Keeps alive what makes tensors compute at once."""


def hush_import() -> None:
    """Silence what Paddle prints at import: glog's INFO lines, and the advice to install ccache (exactly that one)."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found", category=UserWarning)


@contextmanager
def quiet_import() -> Iterator[None]:
    """Within this context an import of Paddle prints nothing, and leaves handlers of logs and signals as they are."""
    hush_import()
    told = "paddle" not in sys.modules and _tells_crashes()
    if told:
        faulthandler.disable()  # Paddle would take the signals from it; behind Paddle, it tells before Paddle does
    root = logging.getLogger()
    handlers, level, propagate = root.handlers[:], root.level, root.propagate
    try:
        yield
    finally:
        root.handlers[:], root.propagate = handlers, propagate
        root.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            # Paddle would print a C++ traceback at a SIGTERM, and take it from our handlers.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        if told:
            faulthandler.enable(all_threads=False)


def _tells_crashes() -> bool:
    """Say whether Python is to write its stack to stderr when native code crashes; else it is not ours."""
    with suppress(AttributeError, OSError, ValueError):  # no stderr, or one that is no file
        return faulthandler.is_enabled() and sys.stderr.fileno() == 2
    return False


@contextmanager
def _unbroken() -> Iterator[None]:
    """Within this context Ctrl-C waits: Paddle takes an import that it breaks for a broken installation."""
    here = "paddle" not in sys.modules and threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if here else None
    if before is None:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def import_paddle() -> Any:
    """Import Paddle quietly."""
    global _mode
    with quiet_import(), _unbroken():
        import paddle
    if _mode is None:
        # What makes tensors compute at once belongs to the thread that imports Paddle, and would end with it: for all.
        _mode = getattr(paddle.base.framework.global_var, "_functional_dygraph_context_manager", None)
    return paddle
