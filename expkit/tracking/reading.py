"""Reading a run back from a tracking store, and noting on it what has become of it since."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from expkit.errors import RunNotFoundError, TrackingError
from expkit.runs import run_id
from expkit.tracking.relocation import follow
from expkit.tracking.schema_lock import database_file, schema_lock
from expkit.tracking.store import (
    StoreSettings,
    import_mlflow,
    own_call,
    probe_database,
    remedy,
    resolve_uri,
)
from expkit.tracking.tags import RUN_FOLDER
from expkit.tracking.text import as_logged, clean_key, explain, masked, shortened

_PAGE = 500
_MAX_TAG = 8000


@dataclass(frozen=True)
class StoredRun:
    """A run in a store.

    Attributes:
        id: MLflow's.
        folder: the run folder it had; it need not be there any more.
        status: "RUNNING", "FINISHED", "FAILED" or "KILLED".
    """

    id: str
    folder: Path
    status: str


class Reader:
    """An existing store; nothing is created in it.

    Attributes:
        client: the `MlflowClient`.
        uri: of the store, absolute.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self.client = client
        self.uri = uri

    def find(self, reference: str) -> StoredRun:
        """Return the run that a user means.

        Args:
            reference: an MLflow run id, the id of a run (or its last part), or "last".

        Raises:
            RunNotFoundError: no run, or more than one, is called that.
            TrackingError: the store does not answer.
        """
        try:
            with own_call():
                found = self._called(reference)
        except Exception as error:
            raise TrackingError(f"tracking store {masked(self.uri)}: {explain(error)}. {remedy(error)}") from error
        if not found:
            raise RunNotFoundError(f"no run {reference!r} in the tracking store {masked(self.uri)}.")
        if len(found) > 1:
            names = ", ".join(f"{run.folder.name} ({run.id})" for run in found[:4])
            raise RunNotFoundError(f"{reference!r} fits {len(found)} runs: {names}. Give one of these MLflow run ids.")
        return found[0]

    def download(self, run_id: str, places: Sequence[str], into: Path) -> None:
        """Copy folders of a run's artifacts into one folder; those that it does not have are left out.

        Raises:
            TrackingError: the store does not give them.
        """
        try:
            with own_call():
                there = {item.path for item in self.client.list_artifacts(run_id)}
                for place in places:
                    if place in there:
                        copied = Path(self.client.download_artifacts(run_id, place, str(into)))
                        for item in copied.iterdir():
                            item.rename(into / item.name)
        except Exception as error:
            raise TrackingError(
                f"tracking store {masked(self.uri)}: the files of the run {run_id} cannot be read ({explain(error)})."
            ) from error

    def metrics(self, run_id: str, prefix: str) -> dict[str, dict[int, float]]:
        """Return the values of all metrics whose names begin with a prefix: {"step/loss": {1: 2.3, 2: 2.1}}.

        Raises:
            TrackingError: the store does not give them.
        """
        return {name: dict(points) for name, points in self.points(run_id, prefix).items()}

    def points(self, run_id: str, prefix: str = "") -> dict[str, list[tuple[int, float]]]:
        """Return (step, value) of each point of these metrics; a step twice where the store holds two points of it.

        Raises:
            TrackingError: the store does not give them.
        """
        try:
            with own_call():
                names = [name for name in self.client.get_run(run_id).data.metrics if name.startswith(prefix)]
                histories = {name: self.client.get_metric_history(run_id, name) for name in names}
        except Exception as error:
            raise TrackingError(
                f"tracking store {masked(self.uri)}: the metrics of the run {run_id} cannot be read ({explain(error)})."
            ) from error
        return {name: [(p.step, as_logged(p.value)) for p in points] for name, points in histories.items()}

    def experiment_with(self, tag: str) -> str:
        """Return the id of the newest experiment that has a tag; empty where there is none.

        Raises:
            TrackingError: the store does not answer.
        """
        try:
            with own_call():
                having = f"tags.`{tag}` LIKE '%'"
                found = self.client.search_experiments(filter_string=having, order_by=["last_update_time DESC"])
                return str(found[0].experiment_id) if found else ""
        except Exception as error:
            raise TrackingError(f"tracking store {masked(self.uri)}: {explain(error)}. {remedy(error)}") from error

    def tags(self, run_id: str) -> dict[str, str] | None:
        """Return the tags of a run; None where the store has no such run."""
        try:
            with own_call():
                return dict(self.client.get_run(run_id).data.tags)
        except Exception:  # noqa: BLE001 - a store may raise anything; who asks has no use for the reason
            return None

    def note(self, run_id: str, tags: Mapping[str, str], file: Path | None = None, place: str = "") -> str:
        """Set tags of a run, and add a file to its artifacts.

        Returns:
            Why that failed; empty when it did not.
        """
        try:
            with own_call():
                for key, value in tags.items():
                    self.client.set_tag(run_id, clean_key(key), shortened(masked(value, key), _MAX_TAG))
                if file is not None:
                    self.client.log_artifact(run_id, str(file), place or None)
        except Exception as error:  # noqa: BLE001 - a store may raise anything, and what was measured is known
            return explain(error)
        return ""

    def _called(self, reference: str) -> list[StoredRun]:
        if reference == "last":
            return list(islice(self._newest(), 1))
        return [run for run in self._newest() if _is_called(run, reference)]

    def _newest(self) -> Iterator[StoredRun]:
        """Yield the runs of expkit in the store, newest first."""
        experiments = [one.experiment_id for one in self.client.search_experiments()]
        token = None
        while True:
            page = self.client.search_runs(
                experiments, order_by=["attributes.start_time DESC"], max_results=_PAGE, page_token=token
            )
            for run in page:
                if RUN_FOLDER in run.data.tags:
                    yield StoredRun(run.info.run_id, Path(run.data.tags[RUN_FOLDER]), run.info.status)
            token = page.token
            if not token:
                return


def open_reader(uri: str | None, runs_dir: Path) -> Reader:
    """Open a store that exists.

    Args:
        uri: of the store; None means `runs_dir`/mlflow.db.
        runs_dir: folder of all runs.

    Raises:
        TrackingError: there is none, or it does not answer.
    """
    resolved = resolve_uri(StoreSettings(uri, "", "", runs_dir.absolute(), runs_dir.absolute()))
    file = database_file(resolved)
    if file is not None and not file.is_file():
        raise TrackingError(f"there is no tracking store {file}. Name yours: tracking.uri=URI.")
    mlflow = import_mlflow()
    with own_call():
        probe_database(resolved)
        if file is not None:
            follow(file)
        try:
            with schema_lock(resolved) if file is None else contextlib.nullcontext():
                return Reader(mlflow.MlflowClient(tracking_uri=resolved, registry_uri=resolved), resolved)
        except Exception as error:
            told = remedy(error, uri=resolved)
            raise TrackingError(f"tracking store {masked(resolved)}: {explain(error)}. {told}") from error


def _is_called(run: StoredRun, reference: str) -> bool:
    identity = run_id(run.folder)
    if not reference:
        return False
    if reference in (run.id, identity) or identity.endswith(f"-{reference}"):
        return True
    return len(reference) >= 6 and run.id.startswith(reference)
