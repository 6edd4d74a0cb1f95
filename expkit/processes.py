"""Processes of ours: what ties one to its parent and to its cores, and how it ended; imports nothing heavy."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1


def death_with_parent() -> Callable[[], None]:
    """Return what has the system kill the process that calls it when its parent dies, in whatever way; Linux only.

    To be found before a fork: a child must not ask the dynamic linker, whose lock another thread may have held then.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            prctl = ctypes.CDLL(None).prctl
            return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return lambda: None


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent dies; it ends at once where that is gone already.

    Elsewhere than on Linux the end of the pipe says so.

    Args:
        parent: process id of it.
    """
    death_with_parent()()
    if sys.platform.startswith("linux") and os.getppid() != parent:
        os._exit(1)


def usable_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use."""
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    return cores or tuple(range(os.cpu_count() or 1))


def pin(cores: Sequence[int]) -> None:
    """Keep this process and all that it starts on these cores, where the system can; none leaves it as it is."""
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core was taken from this container since
            os.sched_setaffinity(0, cores)


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this machine; where that cannot be asked for, it is taken to be there."""
    if os.name == "nt":  # where signal 0 ends a process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def kill_group(pid: int) -> None:
    """Kill a process and all that it started, where the system has groups of processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)  # which on Windows kills


def killed_by(number: int) -> str:
    """Say which signal has killed a process: "killed by SIGKILL"."""
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time one
        return f"killed by signal {number}"
