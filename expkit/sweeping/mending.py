"""Sets right what a process that died has left behind: a run that says it is RUNNING, in its folder and in MLflow.

`python -m expkit.sweeping.mending FOLDER...` does it in MLflow, whose import a sweep need not wait for.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from expkit.errors import ExpkitError, RunNotFoundError
from expkit.runs import read_record, write_record

_SECONDS = 30.0
"""Longest wait for a store when a sweep is over."""


def mend_record(folder: Path, status: str, reason: str) -> bool:
    """Write into `run.json` how a run ended, where its process could not.

    Args:
        folder: the run folder.
        status: "FAILED" or "KILLED"; of a run that says already how it ended, only the reason is changed.
        reason: in words.

    Returns:
        Whether there is a run to set right in MLflow, too.
    """
    try:
        record = read_record(folder)
    except RunNotFoundError:  # it had not begun
        return False
    if record.get("status") == "FINISHED":
        return False
    if record.get("status") == "RUNNING":
        record.update(status=status, ended=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record["reason"] = reason
    with contextlib.suppress(OSError):  # a full disk; who goes on with the run sees that nobody holds its lock
        write_record(folder, record)
    return bool(record.get("mlflow_run_id"))


class Mender:
    """Tells MLflow of runs that died, in a process of its own, one at a time."""

    def __init__(self) -> None:
        self._waiting: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, folder: Path) -> None:
        """Take in a run folder, whose `run.json` is right."""
        self._waiting.append(folder)

    def work(self) -> None:
        """Begin with what waits, unless a process is at it; to be called now and then."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._waiting and self._process is None:
            folders, self._waiting = self._waiting, []
            self._process = subprocess.Popen(
                [sys.executable, "-m", "expkit.sweeping.mending", *map(str, folders)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is not meant for it
            )

    def close(self) -> None:
        """Wait until all is told; a store that does not answer is given up."""
        for _ in range(2):  # what is under way, and what waits behind it
            self.work()
            if self._process is not None:
                try:
                    self._process.wait(_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()


def mend_stored(folder: Path) -> None:
    """Write into the store what `run.json` says of how a run ended."""
    from expkit.tracking.left_behind import how_it_ended, send, settings_of

    settings = settings_of(folder)
    if settings is not None:
        send(folder, settings, ended=how_it_ended(folder))


def main(folders: Sequence[str]) -> None:
    """Set right what can be; the rest stays as it is until somebody goes on with the run."""
    for folder in folders:
        with contextlib.suppress(ExpkitError, OSError, ValueError, KeyError):
            mend_stored(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
