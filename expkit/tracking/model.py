"""An export becomes an MLflow model: "models from code"; no pickle, no expkit needed."""
# mypy: disable-error-code="import-untyped"
# pandas and PyYAML bring no types.

from __future__ import annotations

import base64
import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from expkit.errors import ExportError
from expkit.preprocess import KINDS, from_description
from expkit.provenance import pinned
from expkit.standalone import FILES, UnusableExportError, read_about, runtimes
from expkit.tracking.operations import Point
from expkit.tracking.store import Store, import_mlflow
from expkit.tracking.tags import DESCRIPTION
from expkit.tracking.text import explain

SCRIPT = Path(__file__).resolve().parent.parent / "serving_model.py"
NETWORKS = {"paddle": ("model.json", "model.pdiparams"), "onnx": ("model.onnx",)}
"""Files that hold a network, by the kind of export."""
OTHERS = ("model.yaml", "preprocess.py")
EXAMPLE = "example.npy"
"""Raw inputs beside an export, of which MLflow shows what the model takes."""
EXAMPLES = 2
"""Inputs that MLflow shows; they are stored as text."""
IMAGE = "image"
"""Name of an image model's only input, as in `serving_model.py`."""
_TABLE = "a table with the columns"
_STEP = "expkit.step"
_READY = ("READY", "LoggedModelStatus.READY")
_PADDLE, _ONNX = ("paddlepaddle", "paddlepaddle-gpu"), ("onnxruntime", "onnxruntime-gpu")
_NEEDS = {"jit": _PADDLE, "inference": _PADDLE, "onnxruntime": _ONNX}
"""Distributions that bring a runtime; one of them is installed."""


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


def log_model(store: Store, run_id: str, export_folder: Path, about: Measured, *, name: str, step: int) -> str:
    """Record an export as a model of the run; only `MlflowClient` is used, so no "active run" is touched.

    What was recorded before is not recorded twice.

    Args:
        store: where.
        run_id: of the run that made it.
        export_folder: holds a network, `OTHERS`, and `EXAMPLE`: raw inputs [N, ...].
        about: what is shown with it.
        name: in the UI.
        step: x of the run's final metrics: the epoch of the weights.

    Returns:
        Id of the model.

    Raises:
        ExportError: the export does not predict, or is none that `serving_model.py` can serve.
        Exception: whatever the store raises.
    """
    reason = why_not_servable(export_folder)
    if reason:
        raise ExportError(f"{reason}.")
    known = f"source_run_id = '{run_id}' AND name = '{name}'"
    earlier = store.client.search_logged_models([store.experiment_id], filter_string=known)
    ready = [model for model in earlier if str(model.status) in _READY and _is_of(model, step)]
    if ready:
        return str(ready[0].model_id)
    for model in earlier:
        if str(model.status) not in _READY and _is_of(model, step):  # an attempt that failed or was cut short
            store.client.delete_logged_model(model.model_id)
    tags = {_STEP: str(step), DESCRIPTION: _description(about_export(export_folder), f"runs:/{run_id}/{name}")}
    model = store.client.create_logged_model(
        store.experiment_id, name=name, source_run_id=run_id, params=dict(about.params), tags=tags
    )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            _save(folder, export_folder, np.load(export_folder / EXAMPLE)[:EXAMPLES], run_id=run_id, model=model)
            exact = about_export(export_folder).is_exact
            _upload(store, run_id, model.model_id, folder, step, _measured(model.model_id, about) if exact else [])
    except BaseException:
        with contextlib.suppress(Exception):  # the error that is on its way says why
            store.client.finalize_logged_model(model.model_id, "FAILED")
        raise
    return str(model.model_id)


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
    if not any(all((export_folder / part).is_file() for part in parts) for parts in NETWORKS.values()):
        wanted = " nor ".join(" with ".join(parts) for parts in NETWORKS.values())
        return f"{export_folder} has neither {wanted}"
    missing = [part for part in OTHERS if not (export_folder / part).is_file()]
    if missing:
        return f"{export_folder} has no {', '.join(missing)}"
    about = facts_of_export(export_folder)
    for part in ("input", "target"):
        kind = about[part].get("kind")
        if kind not in KINDS:
            return f"its {part}s are of the kind {kind!r}, for which there is no reader outside of its dataset's plugin"
        try:
            from_description(about[part])
        except TypeError as error:  # a plugin's class that calls itself "image", with fields of its own
            return f"its {part} has the kind {kind!r}, but not the fields of this kind ({error})"
    return ""


class About(NamedTuple):
    """What an export is, in words.

    Attributes:
        format: "paddle", "onnx-int8", ...
        runtime: what runs it where it is served: the fastest of those that gave the trained model's answers.
        takes: what it takes in MLflow.
        answers: what it answers there.
        is_exact: whether it answers as the trained model, so that what was measured of that holds for it.
    """

    format: str
    runtime: str
    takes: str
    answers: str
    is_exact: bool


def about_export(export_folder: Path) -> About:
    """Return what is told of an export that `why_not_servable` has nothing against."""
    about = facts_of_export(export_folder)
    old = not (export_folder / "predict.py").is_file()  # such an export is loaded as ever
    runtime = "jit" if old else runtimes(export_folder, about)[0]
    made = about.get("written_as") or ("onnx" if FILES[runtime] == "model.onnx" else "paddle")
    inexact = str(made).endswith("int8")
    return About(str(made), runtime, _takes(about["input"]), _answers(about["target"]), not inexact)


def _description(about: About, uri: str) -> str:
    """Return the text of the page of a run's model."""
    if about.takes.startswith(_TABLE):
        request = """-d '{"dataframe_records": [{"COLUMN": 1.5, ...}]}'"""
    else:
        request = """-d '{"inputs": ["'"$(base64 -w0 FILE.png)"'"]}'"""
    return (
        f"Format {about.format}, run by {about.runtime}; needs no expkit.\n\n"
        f"- takes: {about.takes}\n- answers: {about.answers}\n\n"
        f'```python\nmodel = mlflow.pyfunc.load_model("{uri}")\nanswers = model.predict(...)\n```\n\n'
        f"```bash\nmlflow models serve -m {uri} --env-manager local --port 5001\n"
        f"curl localhost:5001/invocations -H 'Content-Type: application/json' \\\n    {request}\n```\n"
    )


def facts_of_export(export_folder: Path) -> dict[str, Any]:
    """Return what an export says of itself, its input and its target among it."""
    return dict(yaml.safe_load((export_folder / "model.yaml").read_text(encoding="utf-8")))


def _save(folder: Path, export_folder: Path, example: npt.NDArray[Any], *, run_id: str, model: Any) -> None:
    """Write the model as MLflow wants it."""
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature

    described, about = facts_of_export(export_folder)["input"], about_export(export_folder)
    try:
        signature = _signature(export_folder)
    except UnusableExportError as error:
        raise ExportError(f"the export in {export_folder} is not a working model: {explain(error)}.") from error
    meta = Model(
        artifact_path=model.artifact_location,
        run_id=run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
        metadata={key: getattr(about, key) for key in ("format", "runtime", "takes", "answers")},
    )
    try:
        pyfunc.save_model(
            folder,
            python_model=SCRIPT,
            artifacts={"export": str(export_folder)},
            mlflow_model=meta,
            signature=signature,
            input_example=_example(described, example),
            pip_requirements=requirements(described["kind"], about.runtime),
        )
    except Exception as error:
        raise ExportError(f"the export in {export_folder} is not a working model: {explain(error)}.") from error
    if meta.signature is None:
        raise ExportError(f"the export in {export_folder} does not predict from inputs of shape {example.shape}.")
    meta.signature = ModelSignature(_input_schema(described), meta.signature.outputs)
    meta.save(str(folder / "MLmodel"))


def _signature(export_folder: Path) -> Any:
    """Return what the model takes and answers; None where only a prediction can tell, which MLflow then makes.

    A prediction needs the runtime, of which Paddle takes 300 MB. An export with the digests of its files
    was loaded and tried when it was written, so that it is enough if these are the same files.

    Raises:
        UnusableExportError: they are not.
    """
    from mlflow.models import ModelSignature, infer_signature

    from expkit.serving_model import table

    about = read_about(export_folder) if "sha256" in facts_of_export(export_folder) else {}
    if not about:
        return None
    target = from_description(about["target"])
    answers = table(target.decode(np.zeros((1, target.outputs), np.float32)))
    return ModelSignature(_input_schema(about["input"]), infer_signature(model_output=answers).outputs)


def _takes(described: Mapping[str, Any]) -> str:
    if "columns" in described:
        return f"{_TABLE} {', '.join(described['columns'])}"
    pixels = ", ".join(["N", *(str(described[key]) for key in ("height", "width"))])
    colours = f", {described['channels']}" if described["channels"] > 1 else ""
    return (
        f"a column {IMAGE!r} of image files, their bytes or these as base64 text; or pixels [{pixels}{colours}] uint8"
    )


def _answers(described: Mapping[str, Any]) -> str:
    if "names" in described:
        unit = f" in {described['unit']}" if described.get("unit") else ""
        return f"{', '.join(described['names'])}{unit}"
    return "label, probability, and p(...) for each label"


def _input_schema(described: Mapping[str, Any]) -> Any:
    """Return what MLflow shows of the input, and lets pass; `serving_model.py` checks the rest.

    Images: MLflow's "tensor of objects" is its only type that both files and arrays of pixels pass. Tables: a column
    of "double" refuses a table of pandas whose numbers happen to be whole, so that "any" is left.
    """
    from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec

    if "columns" in described:
        return Schema([ColSpec(AnyType(), name) for name in described["columns"]])
    return Schema([TensorSpec(np.dtype(object), (-1,), IMAGE)])


def _example(described: Mapping[str, Any], raw: npt.NDArray[Any]) -> Any:
    """Return a table that MLflow's server takes as it is: rows with the names of their columns, or PNG files."""
    import pandas as pd

    if "columns" in described:
        return pd.DataFrame(np.asarray(raw, dtype=np.float64), columns=described["columns"])
    return pd.DataFrame({IMAGE: [_png(pixels) for pixels in raw]})


def _png(pixels: npt.NDArray[Any]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def requirements(kind: str, runtime: str) -> list[str]:
    """Return pinned versions of what the served model imports.

    Args:
        kind: of its inputs, "image" or "table".
        runtime: that runs it.
    """
    needed = [_NEEDS[runtime], ("numpy",), ("pandas",), ("pyyaml",), *([("pillow",)] if kind == "image" else [])]
    return [pin for names in needed if (pin := next(filter(None, map(pinned, names)), None)) is not None]
