"""Reading many runs of a store at once, by few queries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from expkit.errors import ConfigError, TrackingError
from expkit.tracking.database import Database, open_database
from expkit.tracking.relocation import follow
from expkit.tracking.schema_lock import database_file
from expkit.tracking.sent import SENT
from expkit.tracking.store import (
    StoreSettings,
    import_mlflow,
    own_call,
    probe_database,
    remedy,
    resolve_uri,
)
from expkit.tracking.tags import IDENTITY
from expkit.tracking.text import as_logged, explain, masked
from expkit.tracking.tracked_run import Points, TrackedRun

_PAGE = 200
"""Runs in one answer: a server needs about a second for so many."""
_PATIENCE = "30"
"""Seconds that a server may take for an answer; nobody trains meanwhile."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
T = TypeVar("T")


class RunQuery:
    """Asks an existing store for runs; no run is created or changed in it.

    Attributes:
        uri: of the store, absolute.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def experiments(self) -> dict[str, str]:
        """Return the name of each experiment by its id; the one with the newest run first.

        Raises:
            TrackingError: the store does not answer.
        """
        return self._ask(Database.experiments, _experiments)

    def runs(self, experiments: Mapping[str, str], where: str = "") -> list[TrackedRun]:
        """Return all runs of some experiments, the newest first, without those that stand for sweeps.

        Args:
            experiments: name by id, as `experiments` gives them.
            where: a condition in MLflow's own search syntax, such as "metrics.`test/loss` < 1"; empty for none.

        Raises:
            ConfigError: MLflow does not understand the condition.
            TrackingError: the store does not answer.
        """
        if not experiments:
            return []
        fast = None if where else (lambda database: database.runs(experiments))
        found: list[TrackedRun] = self._ask(fast, lambda client: _search(client, experiments, where))
        return [run for run in found if not run.is_parent]

    def run(self, run_id: str) -> TrackedRun | None:
        """Return the run of an id; None where there is none, or it was deleted.

        Raises:
            TrackingError: the store does not answer.
        """
        experiments = self.experiments()
        found = self._ask(
            lambda database: database.runs(experiments, run_id), lambda client: _get(client, experiments, run_id)
        )
        return found[0] if found else None

    def ids(self) -> set[str]:
        """Return the ids of all runs, MLflow's and their own, also of those that were deleted.

        Raises:
            TrackingError: the store does not answer.
        """
        return self._ask(Database.ids, _ids)

    def points(self, ids: Sequence[str], names: Sequence[str]) -> dict[str, Points]:
        """Return the points of some metrics by the id of the run.

        Raises:
            TrackingError: the store does not answer.
        """
        if not ids:
            return {}
        return self._ask(lambda database: database.points(ids, names), lambda client: _histories(client, ids, names))

    def page(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page; behind "#" alone where no server is asked."""
        place = f"#/experiments/{experiment_id}/runs/{run_id}"
        return f"{masked(self.uri).rstrip('/')}/{place}" if self.uri.startswith(("http://", "https://")) else place

    def _ask(self, fast: Callable[[Database], T] | None, slow: Callable[[Any], T]) -> T:
        """Ask the database itself where there is one with known tables, else MLflow."""
        try:
            with own_call():
                if fast is not None and urlsplit(self.uri).scheme.split("+")[0] in _DATABASES:
                    with open_database(self.uri) as database:
                        if database is not None:
                            return fast(database)
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _PATIENCE)
                return slow(import_mlflow().MlflowClient(tracking_uri=self.uri, registry_uri=self.uri))
        except ConfigError:
            raise
        except Exception as error:
            told = remedy(error, "Does it run? Name another one: --uri URI.", uri=self.uri)
            raise TrackingError(f"tracking store {masked(self.uri)}: {explain(error)}. {told}") from error


def open_query(uri: str | None, runs_dir: Path) -> RunQuery | None:
    """Open a store that exists.

    Args:
        uri: of the store; None means `runs_dir`/mlflow.db.
        runs_dir: folder of all runs.

    Returns:
        None where `runs_dir` has no store.

    Raises:
        TrackingError: the store that is named does not exist or does not answer.
    """
    resolved = resolve_uri(StoreSettings(uri, "", "", runs_dir.absolute(), runs_dir.absolute()))
    file = database_file(resolved)
    if file is not None and not file.is_file():
        if uri is None:
            return None
        raise TrackingError(f"there is no tracking store {file}. Name yours: --uri URI.")
    with own_call():
        probe_database(resolved)
    if file is not None:
        follow(file)
    return RunQuery(resolved)


def sent_to(folder: Path) -> tuple[str | None, str]:
    """Return the store that a run's folder was sent to (None: that of its runs folder), and its id there, or ""."""
    try:
        found = json.loads((folder / SENT).read_text(encoding="utf-8"))
        return (found["store"], str(found["run_id"])) if found["run_id"] else (None, "")
    except (OSError, ValueError, LookupError, TypeError):
        return None, ""


def _experiments(client: Any) -> dict[str, str]:
    known = {str(one.experiment_id): str(one.name) for one in _paged(client.search_experiments)}
    newest = client.search_runs(list(known), order_by=["attributes.start_time DESC"], max_results=1) if known else []
    first = [str(run.info.experiment_id) for run in newest]
    return {number: known[number] for number in dict.fromkeys((*first, *known))}


def _get(client: Any, experiments: Mapping[str, str], run_id: str) -> list[TrackedRun]:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    return [_tracked(run, experiments)] if str(run.info.experiment_id) in experiments else []


def _ids(client: Any) -> set[str]:
    experiments = [one.experiment_id for one in _paged(client.search_experiments)]
    every = import_mlflow().entities.ViewType.ALL
    runs = list(_paged(client.search_runs, experiments, run_view_type=every))
    return {str(run.info.run_id) for run in runs} | {run.data.tags.get(IDENTITY, "") for run in runs}


def _search(client: Any, experiments: Mapping[str, str], where: str) -> list[TrackedRun]:
    from mlflow.exceptions import MlflowException

    order = ["attributes.start_time DESC"]
    try:
        return [
            _tracked(run, experiments)
            for run in _paged(client.search_runs, list(experiments), filter_string=where, order_by=order)
        ]
    except MlflowException as error:
        if where and error.error_code == "INVALID_PARAMETER_VALUE":
            raise ConfigError(
                f"--where {where!r}: {explain(error)}. It is written as in MLflow's search: "
                "\"metrics.`test/accuracy` > 0.9 and params.optimizer = 'adam'\"."
            ) from error
        raise


def _histories(client: Any, ids: Sequence[str], names: Sequence[str]) -> dict[str, Points]:
    return {
        run: {
            name: sorted((point.step, as_logged(point.value)) for point in client.get_metric_history(run, name))
            for name in names
        }
        for run in ids
    }


def _tracked(run: Any, experiments: Mapping[str, str]) -> TrackedRun:
    info, data = run.info, run.data
    return TrackedRun(
        id=str(info.run_id),
        experiment_id=str(info.experiment_id),
        experiment=experiments[str(info.experiment_id)],
        name=str(info.run_name or ""),
        status=str(info.status),
        started=int(info.start_time or 0),
        ended=None if info.end_time is None else int(info.end_time),
        params=dict(data.params),
        metrics={name: as_logged(value) for name, value in data.metrics.items()},
        tags=dict(data.tags),
    )


def _paged(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(*arguments, max_results=_PAGE, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return
