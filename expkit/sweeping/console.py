"""The console of a sweep, which outlives whoever reads it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, Any, TextIO, cast

from rich.console import Console

from expkit import report


def lasting_console(stream: TextIO | None = None) -> Console:
    """Return a console that does not mind when its reader goes: `| tee` at a Ctrl-C, or a terminal that was closed.

    Just then the jobs of a sweep have to save and be recorded; an error of the screen must not keep them from it.

    Args:
        stream: where to; stdout by default.
    """
    width = report.make_console().width
    file = cast(IO[str], _Lasting(stream or sys.stdout))
    console = Console(file=file, highlight=False)
    return console if console.is_terminal else Console(file=file, highlight=False, width=width)


class _Lasting:
    """A text file that takes everything; once it cannot be written, a terminal on stderr gets it, or nobody."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._unsure = file, ""

    def write(self, text: str) -> int:
        """Write, if anybody reads."""
        self._unsure += text
        try:
            self._file.write(text)
        except OSError:
            self._let_go()
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody reads."""
        try:
            self._file.flush()
        except OSError:
            self._let_go()
        self._unsure = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _let_go(self) -> None:
        """Send the rest elsewhere: Python flushes when it ends, and would complain."""
        lost = self._file
        with contextlib.suppress(OSError, ValueError):  # no real file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, lost.fileno())
            os.close(nowhere)
        spare = sys.stderr
        if lost is not spare and spare.isatty():
            self._file = spare
            with contextlib.suppress(OSError):
                spare.write(self._unsure)
                spare.flush()
