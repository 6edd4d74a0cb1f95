"""A process of a sweep, as the sweep sees it: started on a slot, and heard by a queue."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
from collections.abc import Mapping
from typing import Any

from expkit.line_process import LineProcess
from expkit.processes import killed_by
from expkit.sweeping.slots import Slot

SERVER, WORKER = "expkit.sweeping.server", "expkit.sweeping.worker"


class Process(LineProcess):
    """A server, which forks a child for each order, or a worker, which does one order itself.

    Args:
        slot: gives it its environment and cores.
        heard: gets (this, message) for each message of it, and (this, None) after the last.
        environment: further variables; they outrank the slot's, but for the GPUs that are seen.
        forks: whether it is a server.

    Attributes:
        forks: as above.
    """

    def __init__(
        self, slot: Slot, heard: queue.Queue[tuple[Process, Any]], environment: Mapping[str, str], *, forks: bool
    ) -> None:
        self.forks, self._heard = forks, heard
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        own = slot.environment()
        visible = {"CUDA_VISIBLE_DEVICES": own["CUDA_VISIBLE_DEVICES"]}
        program = ["-m", SERVER if forks else WORKER, "--cores", ",".join(map(str, slot.cores or ()))]
        super().__init__(program, {**own, **environment, **visible}, self._errors)

    def close(self) -> int:
        """As of `LineProcess`."""
        code = super().close()
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

    def _hear(self, message: dict[str, Any] | None) -> None:
        self._heard.put((self, message))


def ending_of(code: int, out_of_memory: bool = False, site: str = "") -> str:
    """Say how a process ended: "killed by SIGKILL (out of memory?)".

    Args:
        code: its exit code, negative for a signal.
        out_of_memory: whether the kernel has killed something for lack of memory meanwhile.
        site: whose code it was in; empty where that is not known.
    """
    if code >= 0:
        return f"its process ended with exit code {code} before the run was over"
    told = killed_by(-code)
    name = told.rpartition(" ")[2]
    more = {"SIGSEGV": "a fault in native code", "SIGILL": "an instruction that this processor does not have"}
    if name == "SIGBUS":
        return f"{told} (often /dev/shm or the disk is full)"
    if name == "SIGKILL":
        return f"{told} ({'out of memory' if out_of_memory else 'out of memory?'})"
    why = f"{more[name]}; " if name in more else ""
    if site:
        return f"{told} in {site} ({why}output.log has the stack)"
    return told + (f" ({why}output.log may tell more)" if why else "")


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed for lack of memory since it started; None where it is unknown."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None
