"""One process at a time makes or changes the tables of a store: MLflow's migrations fail when two run at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from expkit.errors import TrackingError
from expkit.lock import try_lock
from expkit.tracking.text import explain, masked

LOCK_SECONDS = 60.0
"""Longest wait for another process that creates the schema (it takes about 2 s)."""
_NUMBER = 0x6578706B6974  # "expkit", for PostgreSQL, whose locks are numbers
_EVERY = 0.05


@contextlib.contextmanager
def schema_lock(uri: str, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a store's lock, which all processes of expkit on all machines ask for before MLflow opens the store.

    SQLite: the file ``mlflow.db.lock`` beside it. PostgreSQL and MySQL: a lock of the database's own, which ends with
    the connection of its holder. A server makes its schema itself.

    Args:
        uri: of the store, absolute.
        timeout: seconds.

    Raises:
        TrackingError: another process has held it for `timeout` seconds, or it cannot be taken.
    """
    file, scheme = database_file(uri), urlsplit(uri).scheme.split("+")[0]
    if file is not None:
        with file_lock(file.with_name(file.name + ".lock"), timeout):
            yield
    elif scheme in _TAKERS:
        with _database_lock(uri, _TAKERS[scheme], timeout):
            yield
    else:
        yield


def database_file(uri: str) -> Path | None:
    """File of a SQLite store, or None for any other."""
    kind, _, path = uri.partition(":///")
    return Path(unquote(path.partition("?")[0])) if kind in ("sqlite", "sqlite+pysqlite") else None


@contextlib.contextmanager
def file_lock(path: Path, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system releases it when its holder dies.

    Raises:
        TrackingError: another process holds it for `timeout` seconds, or `path` cannot be written.
    """
    try:
        file = path.open("a+b")
    except OSError as error:
        raise TrackingError(
            f"tracking: cannot write {path} ({error.strerror}). Set tracking.uri to a store that works, or train "
            "without one: tracking.kind=none."
        ) from error
    with file:
        _wait(lambda: try_lock(file), str(path), timeout)
        yield  # closing the file releases the lock


@contextlib.contextmanager
def _database_lock(uri: str, take: Callable[[Any], bool], timeout: float) -> Iterator[None]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT")
    try:
        connection = engine.connect()
    except Exception as error:
        raise TrackingError(f"tracking store {masked(uri)}: {explain(error)}.") from error
    with connection:
        _wait(lambda: take(connection), f"the lock of {masked(uri)}", timeout)
        yield  # closing the connection releases the lock


def _wait(take: Callable[[], bool], what: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not take():
        if time.monotonic() > deadline:
            raise TrackingError(
                f"tracking: another process has held {what} for {timeout:.0f} s. End the process that hangs, then run "
                "again."
            )
        time.sleep(_EVERY)


def _take_postgresql(connection: Any) -> bool:
    return _answer(connection, f"SELECT pg_try_advisory_lock({_NUMBER})")


def _take_mysql(connection: Any) -> bool:
    # Its locks are the server's, so that the name has to tell the database; 64 characters at most.
    return _answer(connection, "SELECT GET_LOCK(LEFT(CONCAT('expkit.', DATABASE()), 64), 0)")


def _answer(connection: Any, query: str) -> bool:
    import sqlalchemy

    return bool(connection.execute(sqlalchemy.text(query)).scalar())


_TAKERS: dict[str, Callable[[Any], bool]] = {"postgresql": _take_postgresql, "mysql": _take_mysql}
