"""An export becomes an MLflow model: "models from code"; no pickle, no expkit needed."""
# mypy: disable-error-code="import-untyped"
# pandas and PyYAML bring no types.

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from expkit.errors import ExportError
from expkit.preprocess import KINDS, from_description
from expkit.tracking.operations import Point
from expkit.tracking.store import Store, import_mlflow
from expkit.tracking.text import explain

SCRIPT = Path(__file__).resolve().parent.parent / "serving_model.py"
PARTS = ("model.json", "model.pdiparams", "model.yaml", "preprocess.py")
EXAMPLE = "example.npy"
"""Raw inputs beside an export, of which MLflow shows what the model takes."""
_STEP = "expkit.step"
_READY = ("READY", "LoggedModelStatus.READY")
_REQUIREMENTS = (("paddlepaddle", "paddlepaddle-gpu"), ("numpy",), ("pandas",), ("pillow",), ("pyyaml",))


class Measured(NamedTuple):
    """What is shown with a model.

    Attributes:
        params: of the run.
        results: points of the run that measure this model.
        test_data: name and digest of what it was measured on.
    """

    params: Mapping[str, str]
    results: Sequence[Point]
    test_data: tuple[str, str] | None = None


def log_model(store: Store, run_id: str, export_folder: Path, about: Measured, *, name: str, step: int) -> None:
    """Record an export as a model of the run; only `MlflowClient` is used, so no "active run" is touched.

    What was recorded before is not recorded twice.

    Args:
        store: where.
        run_id: of the run that made it.
        export_folder: holds `PARTS`, and `EXAMPLE`: raw inputs [N, ...].
        about: what is shown with it.
        name: in the UI.
        step: x of the run's final metrics: the epoch of the weights.

    Raises:
        ExportError: the export does not predict, or is none that `serving_model.py` can serve.
        Exception: whatever the store raises.
    """
    reason = why_not_servable(export_folder)
    if reason:
        raise ExportError(f"{reason}.")
    known = f"source_run_id = '{run_id}' AND name = '{name}'"
    earlier = store.client.search_logged_models([store.experiment_id], filter_string=known)
    if any(str(model.status) in _READY and _is_of(model, step) for model in earlier):
        return
    for model in earlier:
        if str(model.status) not in _READY and _is_of(model, step):  # an attempt that failed or was cut short
            store.client.delete_logged_model(model.model_id)
    model = store.client.create_logged_model(
        store.experiment_id, name=name, source_run_id=run_id, params=dict(about.params), tags={_STEP: str(step)}
    )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            _save(folder, export_folder, np.load(export_folder / EXAMPLE), run_id=run_id, model=model)
            _upload(store, run_id, model.model_id, folder, step, _measured(model.model_id, about))
    except BaseException:
        with contextlib.suppress(Exception):  # the error that is on its way says why
            store.client.finalize_logged_model(model.model_id, "FAILED")
        raise


def _is_of(model: Any, step: int) -> bool:
    return bool(model.tags.get(_STEP) == str(step))


def _upload(store: Store, run_id: str, model_id: str, folder: Path, step: int, metrics: Sequence[Any]) -> None:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    store.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=step)])
    store.client.log_model_artifacts(model_id, str(folder))
    if metrics:
        store.client.log_batch(run_id, metrics=metrics)
    store.client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _measured(model_id: str, about: Measured) -> list[Any]:
    metric = import_mlflow().entities.Metric
    name, digest = about.test_data or (None, None)
    return [metric(*point, model_id=model_id, dataset_name=name, dataset_digest=digest) for point in about.results]


def why_not_servable(export_folder: Path) -> str:
    """Say why the files of an export are not those that `serving_model.py` serves; empty when they are."""
    missing = [part for part in PARTS if not (export_folder / part).is_file()]
    if missing:
        return f"{export_folder} has no {', '.join(missing)}, which Paddle's exports have"
    about = yaml.safe_load((export_folder / "model.yaml").read_text(encoding="utf-8"))
    for part in ("input", "target"):
        kind = about[part].get("kind")
        if kind not in KINDS:
            return f"its {part}s are of the kind {kind!r}, for which there is no reader outside of its dataset's plugin"
        try:
            from_description(about[part])
        except TypeError as error:  # a plugin's class that calls itself "image", with fields of its own
            return f"its {part} has the kind {kind!r}, but not the fields of this kind ({error})"
    return ""


def _save(folder: Path, export_folder: Path, example: npt.NDArray[Any], *, run_id: str, model: Any) -> None:
    """Write the model as MLflow wants it; the signature comes from a real prediction on the example."""
    from mlflow import pyfunc
    from mlflow.models import Model

    meta = Model(
        artifact_path=model.artifact_location,
        run_id=run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
    )
    try:
        pyfunc.save_model(
            folder,
            python_model=SCRIPT,
            artifacts={"export": str(export_folder)},
            mlflow_model=meta,
            input_example=_example(export_folder, example),
            pip_requirements=requirements(),
        )
    except Exception as error:
        raise ExportError(f"the export in {export_folder} is not a working model: {explain(error)}.") from error
    if meta.signature is None:
        raise ExportError(f"the export in {export_folder} does not predict from inputs of shape {example.shape}.")


def _example(export_folder: Path, raw: npt.NDArray[Any]) -> Any:
    """Arrays stay arrays; a table's rows get their column names, so that the served model takes them."""
    import pandas as pd

    about = yaml.safe_load((export_folder / "model.yaml").read_text(encoding="utf-8"))
    columns = about["input"].get("columns")
    return pd.DataFrame(np.asarray(raw, dtype=np.float64), columns=columns) if columns else raw


def requirements() -> list[str]:
    """Pinned versions of what the served model imports."""
    pinned = []
    for names in _REQUIREMENTS:
        for name in names:
            try:
                pinned.append(f"{name}=={importlib.metadata.version(name).split('+')[0]}")
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return pinned
