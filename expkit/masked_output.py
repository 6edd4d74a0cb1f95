"""What this process prints, without secrets: a plugin's `print` ends in the log of a cluster as well."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from expkit.masking import masked

_NOBODY_READS = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
"""A closed pipe, a terminal that is gone, a closed connection; not a full disk."""


_LAST_STANDARD = 2


class MaskedOutput(io.TextIOWrapper):
    """Text that goes to a binary stream without secrets.

    Attributes:
        is_broken: whether nobody reads it any more, as behind `| head`, and that ended what was done.
        failure: what else ended it, as a full disk.
        lasting: whether it goes on, into nothing, when nobody reads it any more.
    """

    is_broken = False
    failure: OSError | None = None
    lasting = False

    def write(self, text: str) -> int:
        """Write a text; what stands in several calls is seen in parts."""
        try:
            super().write(masked(text))
        except OSError as error:
            self._let_go(error)
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody reads."""
        try:
            super().flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        """Send the rest, and what children print, nowhere: Python flushes when it ends, and would complain.

        Raises:
            OSError: that error, where it ends what is done.
        """
        if not self.lasting or error.errno not in _NOBODY_READS:
            self.is_broken = self.is_broken or isinstance(error, BrokenPipeError)
            self.failure = error
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Within this context what is done goes on when the reader of its output goes: `| head`, a lost connection.

    It holds for what `masked_output` has set up, and for everything that prints there, plugins and warnings as well.
    """
    before = [(one, one.lasting) for one in (sys.stdout, sys.stderr) if isinstance(one, MaskedOutput)]
    for stream, _ in before:
        stream.lasting = True
    try:
        yield
    finally:
        for stream, lasting in before:
            with contextlib.suppress(OSError, ValueError):  # closed by what was run
                stream.flush()  # what is still unread must not fail what has been done
            stream.lasting = lasting


@contextlib.contextmanager
def masked_output() -> Iterator[None]:
    """Within this context stdout and stderr show no secrets."""
    before: dict[str, Any] = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    made = {name: _over(stream) for name, stream in before.items() if isinstance(stream, io.TextIOWrapper)}
    try:
        for name, stream in made.items():
            setattr(sys, name, stream)
        yield
    finally:
        for name, stream in made.items():
            setattr(sys, name, before[name])
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                stream.flush()
            with contextlib.suppress(OSError, ValueError):
                stream.detach()  # or it would close what it writes to


def open_closed() -> None:
    """Put a stream that leads nowhere in place of each that the caller has closed: `>&-`, a program without a console.

    Else the next file that is opened would get its number, and all that prints, children too, would write into that.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process


def _over(stream: io.TextIOWrapper) -> MaskedOutput:
    stream.flush()
    return MaskedOutput(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
