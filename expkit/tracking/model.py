"""An export becomes an MLflow model: "models from code"; no pickle, no expkit needed."""
# mypy: disable-error-code="import-untyped"
# pandas and PyYAML bring no types.

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from expkit.errors import ExportError
from expkit.preprocess import KINDS, from_description
from expkit.tracking.store import Store, import_mlflow, logger
from expkit.tracking.text import explain
from expkit.tracking.writer import Point

SCRIPT = Path(__file__).resolve().parent.parent / "serving_model.py"
PARTS = ("model.json", "model.pdiparams", "model.yaml", "preprocess.py")
_REQUIREMENTS = (("paddlepaddle", "paddlepaddle-gpu"), ("numpy",), ("pandas",), ("pillow",), ("pyyaml",))


def log_model(
    store: Store,
    run_id: str,
    export_folder: Path,
    input_example: npt.NDArray[Any],
    *,
    name: str,
    step: int,
    params: Mapping[str, str],
    results: Sequence[Point],
    test_data: tuple[str, str] | None = None,
) -> str | None:
    """Record an export as a model of the run; only `MlflowClient` is used, so no "active run" is touched.

    Args:
        store: where.
        run_id: of the run that made it.
        export_folder: holds `PARTS`.
        input_example: raw inputs [N, ...].
        name: in the UI.
        step: x of the run's final metrics: the epoch of the weights.
        params: of the run, shown with the model too.
        results: points of the run that measure this model.
        test_data: name and digest of what it was measured on.

    Returns:
        URI of the model; None when the store fails, or the export is none that `serving_model.py` can serve.

    Raises:
        ExportError: the export does not predict.
    """
    reason = _unservable(export_folder)
    if reason:
        logger.warning("The exported model is not recorded in MLflow: %s.", reason)
        return None
    model = store.attempt(
        f"the model {name!r}",
        lambda: store.client.create_logged_model(
            store.experiment_id, name=name, source_run_id=run_id, params=dict(params)
        ),
    )
    if model is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        try:
            _save(folder, export_folder, input_example, run_id=run_id, model=model)
        except BaseException:
            store.attempt("the model's status", lambda: _fail(store, model.model_id))
            raise
        uploaded = store.attempt(
            f"the model {name!r}",
            lambda: _upload(store, run_id, model.model_id, folder, step, _measured(model.model_id, results, test_data)),
        )
    return f"models:/{model.model_id}" if uploaded else None


def _upload(store: Store, run_id: str, model_id: str, folder: Path, step: int, metrics: Sequence[Any]) -> bool:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    store.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=step)])
    store.client.log_model_artifacts(model_id, str(folder))
    if metrics:
        store.client.log_batch(run_id, metrics=metrics)
    store.client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return True


def _measured(model_id: str, results: Sequence[Point], test_data: tuple[str, str] | None) -> list[Any]:
    metric = import_mlflow().entities.Metric
    name, digest = test_data or (None, None)
    return [metric(*point, model_id=model_id, dataset_name=name, dataset_digest=digest) for point in results]


def _unservable(export_folder: Path) -> str:
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


def _fail(store: Store, model_id: str) -> None:
    store.client.finalize_logged_model(model_id, "FAILED")


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
