"""What a run tells the tracking store, written down in its folder first: nothing is lost where the store is not there.

`tracking.jsonl` has one operation a line, in order. From it alone the run can be made in any store, at any time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

JOURNAL = "tracking.jsonl"
METRICS, END, REOPEN, BEGIN = "metrics", "end", "reopen", "begin"
_CHUNK = 1 << 18
_STATES = tuple(f'"{what}"'.encode() for what in (BEGIN, REOPEN, END))


class Operation(NamedTuple):
    """One line of a journal.

    Attributes:
        start: byte at which its line begins.
        end: byte after its line.
        what: kind of operation: "metrics", "tags", "file", ...
        facts: of it.
    """

    start: int
    end: int
    what: str
    facts: dict[str, Any]


class Journal:
    """Appends to the journal of one run, from any thread.

    A line is handed to the system at once, so that a killed process loses none; `secure` makes them last through a
    power cut. Where the disk is full, lines stay in memory until there is room.

    Args:
        folder: of the run; made where it is not there yet.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        self._one_at_a_time = threading.Lock()
        self._file: int | None = os.open(
            self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666
        )
        self._waiting = b"" if self._ends_well() else b"\n"  # a line that a crash cut short becomes one of its own

    def append(self, what: str, facts: Mapping[str, Any]) -> None:
        """Write an operation down."""
        self._write(json.dumps({"do": what, **facts}, separators=(",", ":"), ensure_ascii=False))

    def append_metrics(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Write metric points of one step down.

        Args:
            values: by name; NaN and infinity are values like others.
            step: position on the x axis.
            time_ms: milliseconds since 1970; makes a second attempt to store the points harmless.
        """
        self._write(f'{{"do":"metrics","time":{time_ms},"step":{step},"values":{_numbers(values)}}}')

    def secure(self) -> None:
        """Make all of it last through a power cut."""
        if self._file is not None and not self._waiting:
            with contextlib.suppress(OSError):  # not every file system can; what is written stays written
                os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file; later calls do nothing."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        with self._one_at_a_time:
            data = self._waiting + line.encode("utf-8", "surrogateescape") + b"\n"
            try:
                written = os.write(self._file, data)
            except OSError:
                written = 0
            self._waiting = data[written:]

    def _ends_well(self) -> bool:
        assert self._file is not None
        size = os.fstat(self._file).st_size
        return size == 0 or os.pread(self._file, 1, size - 1) == b"\n"


def read_journal(folder: Path, offset: int = 0) -> Iterator[Operation]:
    """Yield the operations from a byte on; lines that a crash or a full disk cut short are left out.

    Raises:
        OSError: it cannot be read.
    """
    with (folder / JOURNAL).open("rb") as file:
        file.seek(offset)
        rest = b""
        while chunk := file.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                start, offset = offset, offset + len(line) + 1
                found = _parsed(line)
                if found is not None:
                    yield Operation(start, offset, *found)


def _numbers(values: Mapping[str, float]) -> str:
    """Return what `json.dumps` does in two thirds of the time, which counts where a step takes no longer."""
    pairs = [
        f"{_quoted(name)}: {value!r}" for name, value in values.items() if type(value) is float and value - value == 0
    ]
    return "{" + ", ".join(pairs) + "}" if len(pairs) == len(values) else json.dumps(values)


@functools.lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return json.dumps(name)


def _parsed(line: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        facts = json.loads(line.decode("utf-8", "surrogateescape"))
        what = str(facts.pop("do"))
        if what == METRICS and not (isinstance(facts["values"], dict) and facts["step"] + facts["time"]):
            return None
        return what, facts
    except (ValueError, LookupError, AttributeError, TypeError):
        return None


def beginning(folder: Path) -> dict[str, Any] | None:
    """Return what a journal says of where its run began; None where it is not there or does not say so."""
    with contextlib.suppress(OSError):
        return next((one.facts for one in read_journal(folder) if one.what == BEGIN), None)
    return None


class Recorded(NamedTuple):
    """What a journal has of each metric, by its name.

    Attributes:
        steps: the largest step.
        last: step and value of the point that was recorded last.
    """

    steps: dict[str, int]
    last: dict[str, tuple[int, float]]

    def ends_with(self, name: str, step: int, value: float) -> bool:
        """Whether a metric's last point is this one."""
        known = self.last.get(name)
        return (
            known is not None and known[0] == step and (known[1] == value or (known[1] != known[1] and value != value))
        )


def recorded_points(folder: Path) -> Recorded:
    """Return what a journal has of each metric.

    Raises:
        OSError: it cannot be read.
    """
    steps: dict[str, int] = {}
    last: dict[str, tuple[int, float]] = {}
    for operation in read_journal(folder):
        if operation.what == METRICS:
            step = operation.facts["step"]
            for name, value in operation.facts["values"].items():
                steps[name] = max(step, steps.get(name, step))
                last[name] = (step, value)
    return Recorded(steps, last)


def is_open(folder: Path) -> bool:
    """Whether a journal says that its run is running: it has begun or was gone on with since it last ended.

    Raises:
        OSError: it cannot be read.
    """
    for line in _from_the_end(folder / JOURNAL):
        if any(word in line for word in _STATES):  # a run of a million points has as many lines of others
            found = _parsed(line)
            if found is not None and found[0] in (BEGIN, REOPEN, END):
                return found[0] != END
    return False


def _from_the_end(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file, the last one first."""
    with path.open("rb") as file:
        start, rest = file.seek(0, os.SEEK_END), b""
        is_last = True
        while start > 0:
            size = min(start, _CHUNK)
            start -= size
            file.seek(start)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            if is_last and lines:  # what is behind the last newline was cut short
                lines.pop()
                is_last = False
            yield from reversed(lines)
        if not is_last:
            yield rest


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
