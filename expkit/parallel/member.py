"""Another rank's process, as rank 0 sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from expkit.errors import DeviceLostError
from expkit.parallel.messages import Failed, Order
from expkit.processes import killed_by
from expkit.runlog import log

_GRACE = 5.0
"""Seconds that a process has to end by itself."""
_TAIL = 4
"""Lines of its output that are shown when it died."""


class Member:
    """Starts the process of a rank and talks to it.

    It ends with this process, however that ends.

    Args:
        order: what it is.

    """

    def __init__(self, order: Order) -> None:
        self._name = f"device {order.rank} of {order.size}"
        self._pipe, theirs = Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        self._hung, self._ended_for_others = "", False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "expkit.parallel.rank", str(theirs.fileno()), str(os.getpid())],
                env={**os.environ, "PADDLE_TRAINER_ID": str(order.rank)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
            )
        self.tell(order)

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def is_culprit(self) -> bool:
        """Whether it was this process that left others without it: it hung, or was killed by somebody else."""
        return bool(self._hung) or ((self._process.poll() or 0) < 0 and not self._ended_for_others)

    @property
    def is_stopped(self) -> bool:
        """Whether the process was stopped, as by SIGSTOP or a debugger."""
        try:
            state = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state in "Tt"

    def tell(self, message: Any) -> None:
        """Send a message.

        Raises:
            DeviceLostError: the process is gone; says what became of it.
        """
        try:
            self._pipe.send(message)
        except OSError as error:
            raise self.lost() from error

    def answer(self, wanted: str, seconds: float) -> Any:
        """Return what comes with the next answer.

        Args:
            wanted: what is to be answered.
            seconds: to wait for it.

        Raises:
            DeviceLostError: the process failed, is gone, or does not answer.
        """
        try:
            if not self._pipe.poll(seconds):
                self.give_up(seconds)
                raise self.lost()
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self.lost() from error
        if isinstance(answer, Failed):
            raise self._failed(answer)
        kind, content = answer
        if kind != wanted:
            raise DeviceLostError(
                f"{self._name} answers {kind!r} where {wanted!r} is due: the devices are out of step."
            )
        return content

    def give_up(self, seconds: float) -> None:
        """Kill a process that has not answered for so long."""
        self._hung = f"has not answered for {seconds:g} seconds (trainer.devices_timeout), and was ended"
        self.kill()

    def end_for_others(self) -> None:
        """Kill a process because another one is lost."""
        self._ended_for_others = True
        self.kill()

    def lost(self) -> DeviceLostError:
        """Return the error that says what became of the process, which is gone or about to go."""
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll(0):  # its last words are there still
                last = self._pipe.recv()
                if isinstance(last, Failed):
                    return self._failed(last)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        code, advice = self._process.returncode, ""
        if self._hung:
            how = self._hung
        elif code is None:
            how = "talks no more"
        elif code < 0:
            how = f"was {killed_by(-code)}"
            advice = " Often memory has run out: each device holds the data and the model." * (code == -signal.SIGKILL)
        else:
            how = f"ended with exit code {code}"
        said = self._said()
        if said:
            log.info("%s said:\n%s", self._name, said)
        lines = "".join(f"\n  {line}" for line in said.splitlines()[-_TAIL:]) if code != -signal.SIGKILL else ""
        return DeviceLostError(f"{self._name} (process {self._process.pid}) {how}.{advice}{lines}")

    def kill(self) -> None:
        """End the process, whatever it is at; it holds nothing that would be lost."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process, and forget it."""
        self.kill()
        self._process.wait()
        self._pipe.close()
        self._output.close()

    def _failed(self, failed: Failed) -> DeviceLostError:
        log.info("%s failed:\n%s", self._name, failed.trace)
        return DeviceLostError(f"{self._name} failed: {failed.text}")

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace").strip()[-20_000:]
