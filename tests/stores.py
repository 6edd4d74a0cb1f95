"""Fresh stores of MLflow without the 1.7 seconds that the many steps to their schema take: copies of the first one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def ready_stores(template: Path) -> None:
    """Have MLflow, from now on in this process, copy the tables of a new SQLite file from the first it makes.

    What it writes into them, such as the experiment that every store has, it writes as ever.

    Args:
        template: where they are kept.
    """
    import sqlalchemy
    from mlflow.store.db import utils

    make = utils._initialize_tables

    def initialize(engine: Any) -> None:
        if engine.url.get_backend_name() != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
            make(engine)
            return
        if not template.exists():
            make(engine)
            part = template.with_suffix(".part")
            with closing(engine.raw_connection()) as made, closing(sqlite3.connect(part)) as kept:
                made.driver_connection.backup(kept)
            part.rename(template)
            return
        with closing(engine.raw_connection()) as fresh, closing(sqlite3.connect(template)) as kept:
            kept.backup(fresh.driver_connection)

    utils._initialize_tables = initialize
