"""A runs folder that was moved or copied: MLflow stores absolute paths of artifacts, which are set right here.

A store that was moved is set right when it is opened. One that was copied, so that the old place is still there, is
left to `python -m expkit relocate`: which of the two is meant cannot be known.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from expkit.errors import TrackingError
from expkit.lock import LOCK, is_locked
from expkit.tracking.schema_lock import file_lock
from expkit.tracking.tags import FOLDER, RUN_FOLDER

ARTIFACTS = "mlartifacts"
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_TAGS = (RUN_FOLDER, FOLDER)
_COPY = ".before-move-"

log = logging.getLogger("expkit.tracking")


@dataclass(frozen=True)
class Move:
    """A store whose artifacts are said to be elsewhere, but lie beside it.

    Attributes:
        file: the database.
        old: runs folder that it names.
    """

    file: Path
    old: Path

    @property
    def new(self) -> Path:
        """The runs folder that it is in."""
        return self.file.resolve().parent

    @property
    def is_copy(self) -> bool:
        """Whether the old place is still there."""
        return (self.old / ARTIFACTS).exists() or (self.old / self.file.name).exists()

    @property
    def command(self) -> str:
        """What sets it right."""
        return f"python -m expkit relocate --runs-dir {shlex.quote(str(self.new))}"


def find_move(file: Path) -> Move | None:
    """Return from where the store in a runs folder was moved or copied; None where it was not.

    Args:
        file: of an SQLite store.
    """
    here = file.resolve().parent
    if not file.is_file() or not (here / ARTIFACTS).is_dir():
        return None
    with contextlib.suppress(sqlite3.Error), _opened(file, "ro") as connection:
        for (location,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments"):
            artifacts = _path_of(location)
            if artifacts is None or artifacts.parent.name != ARTIFACTS or artifacts.parent.parent == here:
                continue
            runs = connection.execute(
                "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE artifact_location = ?",
                (location,),
            )
            # A store that is shared by several runs folders has artifacts in each; only what lies here was moved here.
            if any((here / ARTIFACTS / artifacts.name / run).is_dir() for (run,) in runs):
                return Move(file, artifacts.parent.parent)
    return None


def follow(file: Path, *, locked: bool = False) -> Move | None:
    """Set a store right that was moved, and say so in one line; of one that was copied, say what to do.

    What cannot be done now, since another process uses the store or it cannot be written, is left and said.

    Args:
        file: of an SQLite store.
        locked: whether this process holds the store's lock.

    Returns:
        What is left to be done.
    """
    move = find_move(file)
    if move is None:
        return None
    if move.is_copy:
        log.warning(
            "The runs in %s were copied from %s, where their artifacts are still looked for and new ones would go. "
            "To make the copy stand by itself: %s",
            *(move.new, move.old, move.command),
        )
        return move
    try:
        changed = relocate(move, locked=locked)
    except TrackingError as error:
        log.warning("%s", error)
        return move
    # A warning, so that it is seen on the screen: it happens once in the life of a folder.
    log.warning(
        "The runs were moved from %s to %s: %d places in the store were set right.", move.old, move.new, changed
    )
    return None


def relocate(move: Move, *, locked: bool = False) -> int:
    """Make a store name the place that it is in, in one transaction; a copy of it as it was is kept beside it.

    Args:
        move: from where.
        locked: whether this process holds the store's lock.

    Returns:
        How many places were changed.

    Raises:
        TrackingError: another process uses the store, or it cannot be written; it is as it was.
    """
    user = _user(move.new)
    if user:
        raise TrackingError(
            f"the runs in {move.new} were moved from {move.old}, and the store cannot be set right while {user} is "
            f"being trained. When it has ended: {move.command}"
        )
    lock = contextlib.nullcontext() if locked else file_lock(move.file.with_name(move.file.name + ".lock"), 5.0)
    kept = move.file.with_name(f"{move.file.name}{_COPY}{datetime.now():%Y%m%d-%H%M%S}")
    try:
        with lock, _opened(move.file, "rw") as connection:
            _keep(connection, kept)
            return _rewrite(connection, move)
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"the runs in {move.new} were moved from {move.old}, and the store could not be set right ({error}). It is "
            f"as it was. When that is mended: {move.command}"
        ) from error


def _rewrite(connection: sqlite3.Connection, move: Move) -> int:
    changed = 0
    pairs = ((move.old.as_uri(), move.new.as_uri()), (str(move.old), str(move.new)))
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for table, column in _COLUMNS:
            if column in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
                for old, new in pairs:
                    changed += _replace(connection, table, column, old, new)
        for key in _TAGS:
            changed += _replace(connection, "tags", "value", *pairs[1], f"key = '{key}' AND ")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return changed


def _replace(connection: sqlite3.Connection, table: str, column: str, old: str, new: str, more: str = "") -> int:
    """Change what begins with a path and ends there, or goes on with "/"."""
    done = connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
        f"WHERE {more}substr({column}, 1, ?) = ? AND substr({column}, ?, 1) IN ('', '/')",
        (new, len(old) + 1, len(old), old, len(old) + 1),
    )
    return done.rowcount


def _keep(connection: sqlite3.Connection, kept: Path) -> None:
    """Copy the database as it is; only the newest copy is kept."""
    unfinished = kept.with_name(f"{kept.name}.tmp")
    try:
        with contextlib.closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy)
        for earlier in kept.parent.glob(f"{kept.name.partition(_COPY)[0]}{_COPY}*"):
            if earlier != unfinished:
                earlier.unlink()
        unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{file.resolve().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None)) as connection:
        yield connection


def _path_of(location: str | None) -> Path | None:
    parts = urlsplit(location or "")
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    path = Path(unquote(parts.path) if parts.scheme else str(location))
    return path if path.is_absolute() else None


def _user(runs_dir: Path) -> str:
    """Return the folder of a run or sweep that another process works on; empty where there is none."""
    for pattern in ("*/*", "*/*/*"):
        for lock in runs_dir.glob(f"{pattern}/{LOCK}"):
            if is_locked(lock.parent) and not _is_ours(lock):
                return str(lock.parent)
    return ""


def _is_ours(lock: Path) -> bool:
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(holder, dict) and (holder.get("pid"), holder.get("host")) == (os.getpid(), socket.gethostname())
