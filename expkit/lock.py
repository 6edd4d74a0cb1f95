"""A lock on a run folder: no two processes train one run, and no dead process keeps it locked."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import sys
import time
import weakref
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from expkit.errors import ConfigError, RunLockedError
from expkit.files import why_unwritable
from expkit.processes import is_alive

log = logging.getLogger("expkit")

LOCK = ".lock"
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_FAR = 1 << 30
"""Windows locks bytes, which nobody can read then: one that is beyond the text."""
_LEFT_BEHIND_SECONDS = 2.0
_held: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()


class RunLock:
    """Within this context no other process trains in a run folder; looking and predicting stay allowed.

    The system lets go of the lock when this process ends, however it ends.

    Args:
        folder: the run folder; created where it is not there yet.
        doing: what is done there, for whoever is refused.

    Raises:
        RunLockedError: another process holds it; names that.
        ConfigError: the folder cannot be written.
    """

    def __init__(self, folder: Path, doing: str = "is being trained by") -> None:
        self._folder, self._path, self._doing = folder, folder / LOCK, doing
        self._file: IO[bytes] | None = None
        self._made = [folder]

    def __enter__(self) -> RunLock:
        """Take the lock."""
        self._made = [self._folder, *(one for one in self._folder.parents if not one.exists())]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._take()
            _tell(self._file)
        except OSError as error:
            self._release()
            why = why_unwritable(self._path, error)
            raise ConfigError(
                f"the run folder {self._folder} cannot be written: {why}. Choose another: runs_dir=FOLDER."
            ) from error
        _held.add(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go, and leave no file behind; nor a folder made for it, where nothing came of the run."""
        self._release()
        with contextlib.suppress(OSError):  # it holds a run
            for folder in self._made:
                folder.rmdir()

    def _take(self) -> IO[bytes]:
        waits_until = time.monotonic() + _LEFT_BEHIND_SECONDS
        while True:
            file = self._path.open("a+b", buffering=0)
            if not try_lock(file):
                file.close()
                if self._holder_is_dead() and time.monotonic() < waits_until:
                    time.sleep(0.02)
                    continue
                raise RunLockedError(f"{self._folder} {self._doing} {self._holder()}")
            # Whoever held it before may have removed the file after it was opened here: such a lock is none.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    return file
            file.close()

    def _release(self) -> None:
        if self._file is None:
            return
        if os.name == "nt":  # where an open file cannot be removed
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._file.close()
        self._file = None

    def _holder_is_dead(self) -> bool:
        """Whether who wrote the lock was killed here: a process that it was just starting has the lock a moment yet."""
        try:
            facts = json.loads(self._path.read_text(encoding="utf-8"))
            return bool(facts["host"] == socket.gethostname()) and not is_alive(int(facts["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _holder(self) -> str:
        try:
            facts: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            pid, host, since = facts["pid"], facts["host"], facts["since"]
        except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
            return "another process. Wait for its end, or stop it."
        here = host == socket.gethostname()
        stop = f"kill {pid}" if here else f"ssh {host} kill {pid}"
        return (
            f"process {pid} on {'this machine' if here else host} ({host}) since {since}. "
            f"Wait for its end, or stop it, which saves what it has trained: {stop}"
        )


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the lock on a folder."""
    try:
        with (folder / LOCK).open("rb") as file:
            return not try_lock(file)
    except OSError:  # nobody has left a lock there
        return False


def holder_is_elsewhere(folder: Path) -> bool:
    """Whether a lock was left by a process of another machine, of which nothing is known here."""
    try:
        return bool(json.loads((folder / LOCK).read_text(encoding="utf-8"))["host"] != socket.gethostname())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _tell(file: IO[bytes]) -> None:
    """Write down who holds the lock, where there is room; it holds without."""
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(facts).encode())


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file without waiting; the system releases it when the file is closed or the process dies.

    Returns:
        False when another process, or another open file of this one, holds it; True also where the file system has no
        locks, after a warning.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        log.warning(
            "%s cannot be locked (%s): see to it yourself that no second process writes there.",
            file.name,
            error.strerror,
        )
    return True


def why_no_lock(file: IO[bytes]) -> str:
    """Lock an open file that is nobody else's; return what the system says against it, or ""."""
    try:
        _lock(file)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _leave_to_parent() -> None:
    """Close the locks in a forked process, which would keep them when its parent is killed."""
    for file in list(_held):
        file.close()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(after_in_child=_leave_to_parent)
