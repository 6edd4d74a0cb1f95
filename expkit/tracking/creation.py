"""A store in an SQLite file is made whole or not at all; one that was left half made is known.

MLflow makes its tables by dozens of migrations of the file itself. A process that is killed between two of them leaves
a file that no MLflow opens any more: the next one makes again what is there.
"""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HELD = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which Python has names for since 3.11
_UNFINISHED = ("already exists", "duplicate column", "no such table", "no such column", "out-of-date database schema")
"""What MLflow says of tables that an earlier migration left halfway."""


def make_database(file: Path) -> None:
    """Make the tables of a store in memory, and write them into its file in one transaction.

    A kill leaves no file, an empty one, or one that SQLite makes empty again when it is next opened. Nothing is done
    where the file holds something. To be called with the store's lock, after MLflow's import.

    Args:
        file: of the store.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    if file.exists() and (not file.is_file() or file.stat().st_size):
        return
    make = getattr(importlib.import_module("mlflow.store.db.utils"), "_initialize_tables", None)
    if make is None:  # another MLflow calls it otherwise, and makes the tables in its own way
        return
    import sqlalchemy

    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        make(sqlalchemy.create_engine("sqlite://", creator=lambda: memory, poolclass=sqlalchemy.pool.StaticPool))
        with contextlib.closing(sqlite3.connect(file)) as target:
            memory.backup(target, progress=_refuse_to_wait)


def _refuse_to_wait(status: int, _left: int, _pages: int) -> None:
    if status in _HELD:  # it would try for ever
        raise sqlite3.OperationalError("database is locked")


def unfinished(file: Path, why: str) -> str:
    """Say what helps where the making of a store's tables, or their upgrade, was cut short; empty where it was not.

    Args:
        file: of the store.
        why: what MLflow said of it.
    """
    if not any(words in why for words in _UNFINISHED):
        return ""
    uri = f"{file.resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as opened:
            holds = holds_anything(lambda query: (opened.execute(query).fetchone() or [None])[0])
    except sqlite3.Error:
        return ""
    if holds is False:
        return f"A process that made its tables was killed; no run is in it. {move_away(file)}"
    if holds is None or "out-of-date" in why:
        return ""
    return (
        "An upgrade of its tables was cut short. Bring back the copy that was made before it. Without one: "
        f"{move_away(file)} What did not come from expkit is then in the old file only."
    )


def holds_anything(ask: Callable[[str], Any]) -> bool | None:
    """Whether a run or a registered model is in tables of MLflow, finished or not; None where they are not MLflow's.

    Args:
        ask: returns the first value of the first row that a query of SQLite finds, or None.
    """
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{}'"
    if not ask(known.format("experiments")):
        return None
    # While a migration changes a table, its rows are copied into another.
    tables = ("runs", "registered_models", "_alembic_tmp_runs", "_alembic_tmp_registered_models")
    return any(ask(known.format(name)) and ask(f"SELECT 1 FROM {name} LIMIT 1") for name in tables)


def move_away(file: Path) -> str:
    """Say how a store is made anew, and what becomes of its runs."""
    name, folder = shlex.quote(str(file)), file.parent
    of_folder = file.name == "mlflow.db" and folder != Path("runs").resolve()
    where = f" --runs-dir {shlex.quote(str(folder))}" if of_folder else ""
    return (
        f"Move it away (mv {name} {shlex.quote(f'{file}.broken')}) and run again. No run is lost: "
        f"`python -m expkit sync all{where}` sends them again from their folders."
    )
