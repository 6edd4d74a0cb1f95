"""A process of a sweep, as the sweep sees it: started on a slot, given orders, heard by a thread, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from expkit.processes import kill_group, killed_by
from expkit.sweeping.slots import Slot

SERVER, WORKER = "expkit.sweeping.server", "expkit.sweeping.worker"
_LAST = 3.0
"""Seconds that a process, whose pipe is closed already, may take to end."""


class Process:
    """A server, which forks a child for each order, or a worker, which does one order itself.

    Args:
        slot: gives it its environment and cores.
        heard: gets (this, message) for each message of it, and (this, None) after the last.
        environment: further variables; they outrank the slot's, but for the GPUs that are seen.
        forks: whether it is a server.

    Attributes:
        forks: as above.
        pid: of itself.
    """

    def __init__(
        self, slot: Slot, heard: queue.Queue[tuple[Process, Any]], environment: Mapping[str, str], *, forks: bool
    ) -> None:
        self.forks = forks
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        own = slot.environment()
        visible = {"CUDA_VISIBLE_DEVICES": own["CUDA_VISIBLE_DEVICES"]}
        cores = ",".join(map(str, slot.cores or ()))
        self._popen = subprocess.Popen(
            [sys.executable, "-m", SERVER if forks else WORKER, "--parent", str(os.getpid()), "--cores", cores],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **own, **environment, **visible},
            # The terminal's Ctrl-C is meant for the sweep, which tells its jobs.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.pid = self._popen.pid
        self._thread = threading.Thread(target=self._hear, args=(heard,), name=f"expkit-slot-{self.pid}", daemon=True)
        self._thread.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send an order or an answer; to a process that is dead, nothing."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._popen.stdin.write(json.dumps(message).encode() + b"\n")
            self._popen.stdin.flush()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """Kill it, and all of its group."""
        if self.is_alive():
            kill_group(self.pid)

    def close(self) -> int:
        """Wait for its end, and kill it if need be; returns its exit code, negative for a signal."""
        with contextlib.suppress(OSError):
            if self._popen.stdin is not None:
                self._popen.stdin.close()
        try:
            code = self._popen.wait(_LAST)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._popen.wait()
        self._thread.join(_LAST)
        if not self._thread.is_alive() and self._popen.stdout is not None:
            self._popen.stdout.close()
        self._errors.close()
        return code

    def last_words(self) -> str:
        """Last line that it wrote before it had a job's output to write to; empty where there is none."""
        with contextlib.suppress(OSError, ValueError):
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - 4000))
            lines = self._errors.read().decode(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def _hear(self, heard: queue.Queue[tuple[Process, Any]]) -> None:
        assert self._popen.stdout is not None
        with contextlib.suppress(ValueError):  # closed, since it did not end by itself
            for line in self._popen.stdout:
                with contextlib.suppress(ValueError):  # half a line, of a process that was killed
                    message = json.loads(line)
                    if isinstance(message, dict):
                        heard.put((self, message))
        heard.put((self, None))


def ending_of(code: int, out_of_memory: bool = False) -> str:
    """Say how a process ended: "killed by SIGKILL (out of memory?)"."""
    if code >= 0:
        return f"its process ended with exit code {code} before the run was over"
    told = killed_by(-code)
    name = told.rpartition(" ")[2]
    more = {"SIGSEGV": "a fault in native code", "SIGILL": "an instruction that this processor does not have"}
    if name == "SIGBUS":
        return f"{told} (often /dev/shm or the disk is full)"
    if name == "SIGKILL":
        return f"{told} ({'out of memory' if out_of_memory else 'out of memory?'})"
    return told + (f" ({more[name]}; output.log may tell more)" if name in more else "")


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed for lack of memory since it started; None where it is unknown."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None
