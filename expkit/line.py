"""Lines of JSON between a process of ours and the one that started it, over the two pipes that it is started with."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

_PIECE = 65536


class Line:
    """A process's end: it takes the pipes away from stdin and stdout, which anybody may read and print on.

    Messages are read byte by byte from the system, without a buffer: a forked process and its parent share the pipe.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest = b""
        self._sending = threading.Lock()

    @classmethod
    def take(cls) -> Line:
        """Take the pipes; stdin is empty from now on, and stdout goes where stderr goes."""
        sys.stdout.flush()
        line = cls(os.dup(0), os.dup(1))  # not inherited by programs that the process starts
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return line

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; where nobody is there any more, it is lost."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending, contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._writing, data) :]

    def break_off(self) -> None:
        """End what a process that died may have left half written."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writing, b"\n")

    def receive(self) -> Any:
        """Wait for a message; None when there will be none any more."""
        while b"\n" not in self._rest:
            piece = os.read(self._reading, _PIECE)
            if not piece:
                return None
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\n")
        return json.loads(first)

    def give_to_program(self) -> None:
        """Put the pipes back on stdin and stdout, for the program that takes this process's place."""
        os.dup2(self._reading, 0)
        os.dup2(self._writing, 1)
