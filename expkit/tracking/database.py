"""Reading runs straight from the tables of a store that is a database.

MLflow makes objects of every row: a thousand runs take it ten seconds, and its import takes one more. These tables
have been the same since MLflow 1; where they are not as expected, the answer is None, and MLflow is asked.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from expkit.tracking.tags import IDENTITY
from expkit.tracking.text import as_logged
from expkit.tracking.tracked_run import Points, TrackedRun

_TABLES: Mapping[str, tuple[str, ...]] = {
    "experiments": ("experiment_id", "name", "lifecycle_stage"),
    "runs": ("run_uuid", "name", "status", "start_time", "end_time", "experiment_id", "lifecycle_stage"),
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "latest_metrics": ("run_uuid", "key", "value", "is_nan"),
    "metrics": ("run_uuid", "key", "value", "is_nan", "step", "timestamp"),
}
_AT_ONCE = 500
"""Most values in one `IN (...)`; SQLite takes 999."""


class Database:
    """The tables of a store.

    Args:
        connection: an open one of SQLAlchemy.
    """

    def __init__(self, connection: Any) -> None:
        import sqlalchemy

        self._connection, self._sql = connection, sqlalchemy
        self._tables = {
            name: sqlalchemy.table(name, *(sqlalchemy.column(column) for column in columns))
            for name, columns in _TABLES.items()
        }

    def is_known(self) -> bool:
        """Whether the tables are those that are expected."""
        inspector = self._sql.inspect(self._connection)
        there = set(inspector.get_table_names())
        return set(_TABLES) <= there and all(
            set(columns) <= {column["name"] for column in inspector.get_columns(name)}
            for name, columns in _TABLES.items()
        )

    def experiments(self) -> dict[str, str]:
        """Return the name of each experiment with runs by its id; the one with the newest run first."""
        table, runs = self._tables["experiments"], self._tables["runs"]
        newest = self._sql.func.max(runs.c.start_time)
        query = (
            self._sql.select(table.c.experiment_id, table.c.name, newest)
            .select_from(table.join(runs, runs.c.experiment_id == table.c.experiment_id))
            .where(table.c.lifecycle_stage == "active", runs.c.lifecycle_stage == "active")
            .group_by(table.c.experiment_id, table.c.name)
        )
        rows = sorted(self._connection.execute(query), key=lambda row: row[2] or 0, reverse=True)
        return {str(number): name for number, name, _ in rows}

    def runs(self, experiments: Mapping[str, str], run_id: str = "") -> list[TrackedRun]:
        """Return all runs of some experiments, the newest first; only the one of an id where that is given."""
        runs = self._tables["runs"]
        columns = (runs.c.run_uuid, runs.c.experiment_id, runs.c.name, runs.c.status, runs.c.start_time)
        query = (
            self._sql.select(*columns, runs.c.end_time)
            .where(runs.c.lifecycle_stage == "active")
            .where(runs.c.experiment_id.in_([int(number) for number in experiments]))
            .order_by(runs.c.start_time.desc(), runs.c.run_uuid)
        )
        query = query.where(runs.c.run_uuid == run_id) if run_id else query
        heads = list(self._connection.execute(query))
        ids = [head[0] for head in heads]
        params, tags = self._texts("params", ids), self._texts("tags", ids)
        metrics = self._values(ids)
        return [
            TrackedRun(
                id=run,
                experiment_id=str(number),
                experiment=experiments[str(number)],
                name=name or tags[run].get("mlflow.runName", ""),
                status=status,
                started=int(start or 0),
                ended=None if end is None else int(end),
                params=params[run],
                metrics=metrics[run],
                tags=tags[run],
            )
            for run, number, name, status, start, end in heads
        ]

    def ids(self) -> set[str]:
        """Return the ids of all runs, MLflow's and their own, also of those that were deleted."""
        runs, tags = self._tables["runs"], self._tables["tags"]
        queries = (self._sql.select(runs.c.run_uuid), self._sql.select(tags.c.value).where(tags.c.key == IDENTITY))
        return {row[0] for query in queries for row in self._connection.execute(query)}

    def points(self, ids: Sequence[str], names: Sequence[str]) -> dict[str, Points]:
        """Return the points of some metrics of some runs, in the order of steps."""
        table = self._tables["metrics"]
        found: dict[str, dict[str, list[tuple[int, float]]]] = {run: defaultdict(list) for run in ids}
        columns = (table.c.run_uuid, table.c.key, table.c.step, table.c.value, table.c.is_nan)
        query = self._sql.select(*columns).where(table.c.key.in_(names)).order_by(table.c.step, table.c.timestamp)
        for run, key, step, value, is_nan in self._of(query, table, ids):
            found[run][key].append((int(step), _value(value, is_nan)))
        return {run: dict(points) for run, points in found.items()}

    def _texts(self, name: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        table = self._tables[name]
        found: dict[str, dict[str, str]] = defaultdict(dict)
        query = self._sql.select(table.c.run_uuid, table.c.key, table.c.value)
        for run, key, value in self._of(query, table, ids):
            found[run][key] = "" if value is None else value
        return found

    def _values(self, ids: Sequence[str]) -> dict[str, dict[str, float]]:
        table = self._tables["latest_metrics"]
        found: dict[str, dict[str, float]] = defaultdict(dict)
        query = self._sql.select(table.c.run_uuid, table.c.key, table.c.value, table.c.is_nan)
        for run, key, value, is_nan in self._of(query, table, ids):
            found[run][key] = _value(value, is_nan)
        return found

    def _of(self, query: Any, table: Any, ids: Sequence[str]) -> Iterator[Any]:
        for first in range(0, len(ids), _AT_ONCE):
            yield from self._connection.execute(query.where(table.c.run_uuid.in_(ids[first : first + _AT_ONCE])))


@contextmanager
def open_database(uri: str) -> Iterator[Database | None]:
    """Within this context a database can be asked; None where its tables are not those that are expected."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        database = Database(connection)
        yield database if database.is_known() else None


def _value(value: float, is_nan: bool) -> float:
    return math.nan if is_nan else as_logged(float(value))
