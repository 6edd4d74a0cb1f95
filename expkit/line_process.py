"""A process of ours that talks in lines of JSON, as the one that started it sees it; its own end is a `Line`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import IO, Any

from expkit.processes import kill_group

_LAST = 3.0
"""Seconds that a process, whose pipe is closed already, may take to end."""


class LineProcess(ABC):
    """Starts a process, which is sent messages, heard by a thread, and ended.

    It is in a session of its own: the terminal's Ctrl-C is meant for who started it.

    Args:
        program: what Python is to run, and what that is told; whose child it is is told behind that.
        environment: variables beside this process's own, which they outrank.
        errors: gets its stderr; this process's stderr by default.

    Attributes:
        pid: of the process.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, program: Sequence[str], environment: Mapping[str, str], errors: IO[bytes] | None = None) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, *program, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.pid = self._popen.pid
        self._thread = threading.Thread(target=self._listen, name=f"expkit-hears-{self.pid}", daemon=True)
        self._thread.start()

    @abstractmethod
    def _hear(self, message: dict[str, Any] | None) -> None:
        """Take in a message, in the thread; None after the last."""

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; False where the process is dead."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(message).encode() + b"\n")
            self._popen.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """Kill it, and all of its group."""
        if self.is_alive():
            kill_group(self.pid)

    def close(self) -> int:
        """Wait for its end, and kill it if need be; returns its exit code, negative for a signal."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        try:
            code = self._popen.wait(_LAST)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._popen.wait()
        self._thread.join(_LAST)
        if not self._thread.is_alive():
            self._popen.stdout.close()
        return code

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        try:
            with contextlib.suppress(ValueError):  # closed, since it did not end by itself
                for line in self._popen.stdout:
                    with contextlib.suppress(ValueError):  # half a line, of a process that was killed
                        message = json.loads(line)
                        if isinstance(message, dict):
                            self._hear(message)
        finally:
            self._hear(None)
