"""What ties a process of a sweep to the one that started it, and to its cores; imports nothing heavy."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent dies, in whatever way; Linux only.

    Elsewhere, and for a parent that is gone already, the end of the pipe says so.

    Args:
        parent: process id of it.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def pin(cores: Sequence[int]) -> None:
    """Keep this process and all that it starts on these cores, where the system can; none leaves it as it is."""
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core was taken from this container since
            os.sched_setaffinity(0, cores)


def kill_group(pid: int) -> None:
    """Kill a process and all that it started, where the system has groups of processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)  # which on Windows kills
