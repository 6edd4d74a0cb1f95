"""What this process prints, without secrets: a plugin's `print` ends in the log of a cluster as well."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

from expkit.masking import masked


class MaskedOutput(io.TextIOWrapper):
    """Text that goes to a binary stream without secrets.

    Attributes:
        is_broken: whether nobody reads it any more, as behind `| head`.
    """

    is_broken = False

    def write(self, text: str) -> int:
        """Write a text; what stands in several calls is seen in parts."""
        try:
            super().write(masked(text))
        except BrokenPipeError:
            self.is_broken = True
            raise
        return len(text)


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


def _over(stream: io.TextIOWrapper) -> MaskedOutput:
    stream.flush()
    return MaskedOutput(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
