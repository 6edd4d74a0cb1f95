"""One run in a tracking store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from expkit.errors import TrackingError
from expkit.spec import DataSpec
from expkit.tracking.model import log_model
from expkit.tracking.nested import REASON, Children
from expkit.tracking.null import NullTracker
from expkit.tracking.store import Store, StoreSettings, import_mlflow, logger, open_store, user_name
from expkit.tracking.text import as_text, clean_key, explain, masked, shortened
from expkit.tracking.view import COLOR, next_color
from expkit.tracking.writer import MetricWriter, Point, now_ms

MAX_PARAM = 6000
MAX_TAG = 8000
PER_CALL = 100
"""MLflow takes at most so many parameters, and so many tags, in one call."""
DIGEST = 8
"""Characters, as in MLflow's own digests (36 at most); the whole fingerprint is a tag."""
DESCRIPTION = "mlflow.note.content"


class Tracker(NullTracker):
    """Records one run; `open_tracker` makes it.

    After the run was opened, no method raises because of the store: the first failure is a warning, and
    `finish` says what was not stored.

    Attributes:
        run_id: of the MLflow run.
        experiment_id: of its experiment.
        uri: of the store, absolute.
    """

    def __init__(
        self, store: Store, run_id: str, params: Mapping[str, str], seen: Mapping[str, int] | None = None
    ) -> None:
        self.run_id = run_id
        self.experiment_id = store.experiment_id
        self.uri = store.uri
        self._store = store
        self._finished = False
        self._params = params
        self._seen = seen or {}
        self._results: dict[str, Point] = {}
        self._test_data: tuple[str, str] | None = None
        self._writer = MetricWriter(self._send)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at `step`; they are written in the background within about a second.

        What a run had stored before it was interrupted is not stored twice when it goes that way again.
        """
        now = now_ms()
        self._put([Point(clean_key(key), float(value), now, step) for key, value in values.items()])

    def pending(self) -> list[Point]:
        """Return the points that the store has not taken yet; a checkpoint keeps them, so that it need not wait."""
        return self._writer.pending()

    def put_back(self, points: Sequence[Sequence[Any]]) -> None:
        """Record points that `pending` gave before the process ended, but for those that the store took after all."""
        self._put([Point(str(key), float(value), int(time), int(step)) for key, value, time, step in points])

    def _put(self, points: Sequence[Point]) -> None:
        if self._seen:
            points = [point for point in points if point.step > self._seen.get(point.key, -1)]
        self._results.update((point.key, point) for point in points if point.key.startswith("test/"))
        self._writer.put(points)

    def log_data(self, spec: DataSpec, sizes: Mapping[str, int]) -> None:
        """Record the data as inputs of the run, one for each split.

        Args:
            spec: of the data.
            sizes: number of samples by split, such as {"train": 50_000, "valid": 10_000, "test": 10_000}.
        """
        entities = import_mlflow().entities
        location = masked(spec.source.location)
        remote = location.startswith(("http://", "https://"))
        inputs = []
        for split, size in sizes.items():
            tags = {
                "mlflow.data.context": split,
                "samples": str(size),
                "source": spec.source.kind,
                "stand_in_for": spec.source.stand_in_for or "",
            }
            dataset = entities.Dataset(
                # MLflow keeps one input for each pair of name and digest: the split must be part of the name.
                name=f"{spec.name}, {split}",
                digest=spec.fingerprint[:DIGEST],
                source_type="http" if remote else "local",
                source=json.dumps({"url" if remote else "uri": location}),
                profile=json.dumps({"num_rows": size, "input_shape": list(spec.input_shape)}),
            )
            if split == "test":
                self._test_data = (dataset.name, dataset.digest)
            pairs = [entities.InputTag(key, value) for key, value in tags.items() if value]
            inputs.append(entities.DatasetInput(dataset, pairs))
        self._store.attempt("the data's source", lambda: self._store.client.log_inputs(self.run_id, datasets=inputs))

    def log_artifacts(self, folder: Path, artifact_path: str | None = None) -> None:
        """Copy everything in `folder` to the run's artifacts, below `artifact_path`.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not folder.is_dir():
            raise FileNotFoundError(folder)
        self._copy(f"the artifacts in {folder}", self._store.client.log_artifacts, folder, artifact_path)

    def log_artifact(self, file: Path, artifact_path: str | None = None) -> None:
        """Copy one file to the run's artifacts, into `artifact_path`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not file.is_file():
            raise FileNotFoundError(file)
        self._copy(f"the artifact {file}", self._store.client.log_artifact, file, artifact_path)

    def log_model(
        self,
        export_folder: Path,
        input_example: npt.NDArray[Any],
        *,
        name: str = "model",
        step: int = 0,
    ) -> str | None:
        """Record an export as an MLflow model that predicts from raw inputs, without expkit.

        The run's latest metrics of the test split ("test/...") are shown with the model.

        Args:
            export_folder: model.json, model.pdiparams, model.yaml and preprocess.py.
            input_example: raw inputs [N, ...]; a few only, they are stored as text.
            name: of the model in the UI.
            step: x of the run's final metrics, which the model shares: the epoch of the weights.

        Returns:
            URI for `mlflow.pyfunc.load_model`; None, after a warning, when the store fails or MLflow cannot serve such
            an export: inputs that only a plugin can read, or files other than Paddle's.

        Raises:
            ExportError: the export does not predict.
        """
        return log_model(
            self._store,
            self.run_id,
            export_folder,
            input_example,
            name=name,
            step=step,
            params=self._params,
            results=list(self._results.values()),
            test_data=self._test_data,
        )

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        for part in _parts(_tags(tags)):
            self._store.attempt("tags", partial(self._store.client.log_batch, self.run_id, tags=part))

    def set_description(self, markdown: str) -> None:
        """Make `markdown` the text of the run's page."""
        self.set_tags({DESCRIPTION: markdown})

    def children(self) -> Children:
        """Return the runs that are nested in this one."""
        return Children(self._store, self.run_id)

    def finish(self, status: str = "FINISHED", reason: str = "") -> None:
        """Write what waits, close the run and say what was not stored; later calls do nothing.

        A call that was torn by a signal before it closed the run does not count: the next one closes it.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".
            reason: why it did not finish; becomes the tag ``status.reason``.
        """
        if self._finished:
            return
        self._store.wake()
        lost = self._writer.close()
        self._store.wake()
        if reason:
            self.set_tags({REASON: reason})
        self._store.attempt("the run's status", lambda: self._store.client.set_terminated(self.run_id, status))
        self._finished = True
        missing = [f"{lost:,} metric points"] if lost else []
        missing += list(dict.fromkeys(self._store.failures))
        if missing:
            logger.warning(
                "Not stored in %s: %s. The last error: %s.",
                masked(self.uri),
                ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else ""),
                self._store.last_error or "the store took too long",
            )

    def _copy(self, what: str, call: Callable[..., None], source: Path, artifact_path: str | None) -> None:
        self._store.attempt(what, lambda: call(self.run_id, str(source), artifact_path or None))

    def _send(self, points: Sequence[Point]) -> bool:
        metric = import_mlflow().entities.Metric
        metrics = [metric(*point) for point in points]

        def call() -> bool:
            self._store.client.log_batch(self.run_id, metrics=metrics)
            return True

        return self._store.attempt("metrics", call, background=True) is True


def open_tracker(
    settings: StoreSettings, *, params: Mapping[str, Any], tags: Mapping[str, str], description: str = ""
) -> Tracker:
    """Open the store, begin a run and record how it was made.

    Args:
        settings: where.
        params: every choice and resolved option by dotted name.
        tags: facts to search by: git commit, device, data source.
        description: markdown for the run's page.

    Raises:
        TrackingError: the store cannot be reached or written; says what to do.
    """
    store = open_store(settings)
    texts = {clean_key(key): masked(as_text(value)) for key, value in params.items()}
    long = [key for key, text in texts.items() if len(text) > MAX_PARAM]
    values = {key: shortened(text, MAX_PARAM) for key, text in texts.items()}
    all_tags = {**_system_tags(), **tags}
    if description:
        all_tags[DESCRIPTION] = description
    if long:
        all_tags["params.shortened"] = ", ".join(long)
    try:
        run_id = _begin(store, settings.run_name, values, all_tags)
    except Exception as error:
        raise TrackingError(
            f"tracking store {masked(store.uri)}: no run could be written ({explain(error)}). "
            "Free its disk or mend its permissions, or train without it: tracking.kind=none."
        ) from error
    return Tracker(store, run_id, values)


def reopen_tracker(settings: StoreSettings, run_id: str, *, replays: bool = True) -> Tracker:
    """Open the store and go on with a run in it.

    Args:
        settings: where.
        run_id: of the run.
        replays: it goes again through steps whose points it has stored; these are not stored twice.

    Raises:
        TrackingError: the store cannot be reached, or has no such run.
    """
    store = open_store(settings)
    try:
        run = store.client.get_run(run_id)
        keys = run.data.metrics if replays else ()
        seen = {key: max(p.step for p in store.client.get_metric_history(run_id, key)) for key in keys}
        store.client.update_run(run_id, status="RUNNING")
        if REASON in run.data.tags:
            store.client.delete_tag(run_id, REASON)
    except Exception as error:
        raise TrackingError(
            f"tracking store {masked(store.uri)}: the run {run_id} cannot be gone on with ({explain(error)}). "
            "Bring the store back, or go on without it: tracking.kind=none."
        ) from error
    return Tracker(store, run_id, dict(run.data.params), seen)


def _begin(store: Store, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """Create the run and write what it begins with; a run that cannot be written whole is closed."""
    colour = {COLOR: next_color(store.client, store.experiment_id)}
    run_id = str(store.client.create_run(store.experiment_id, run_name=name).info.run_id)
    try:
        for part in _parts([import_mlflow().entities.Param(key, value) for key, value in params.items()]):
            store.client.log_batch(run_id, params=part)
        for part in _parts(_tags({**colour, **tags})):
            store.client.log_batch(run_id, tags=part)
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with contextlib.suppress(Exception):  # the error that is on its way says why
            store.client.set_terminated(run_id, status)
        raise
    return run_id


def _tags(tags: Mapping[str, Any]) -> list[Any]:
    tag = import_mlflow().entities.RunTag
    return [tag(clean_key(key), shortened(masked(str(value)), MAX_TAG)) for key, value in tags.items()]


def _system_tags() -> dict[str, str]:
    """Tags that MLflow's UI has columns for."""
    return {"mlflow.user": user_name(), "mlflow.source.name": "expkit", "mlflow.source.type": "LOCAL"}


def _parts(items: list[Any]) -> list[list[Any]]:
    return [items[i : i + PER_CALL] for i in range(0, len(items), PER_CALL)]
