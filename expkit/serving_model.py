"""What answers when an exported model is loaded from MLflow: `mlflow.pyfunc.load_model(uri).predict(raw)`.

MLflow copies this file beside the model and runs it there, so it imports nothing of expkit: it needs only MLflow,
NumPy, pandas, PyYAML, Pillow for images, the model's own runtime, and the copies of `predict.py` and `preprocess.py` in
the export.
"""
# mypy: disable-error-code="import-untyped, type-arg, misc"
# pandas, PyYAML and MLflow bring no types; MLflow knows the bare np.ndarray only.

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib.util
import io
import math
import re
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

Inputs = np.ndarray  # bare: the one annotation for raw arrays that MLflow neither warns about nor converts
IMAGE = "image"
"""Name of an image model's only input."""
BATCH_SIZE = 256
_SHOWN = 40


class ExportedModel(mlflow.pyfunc.PythonModel):
    """Reads and normalises raw inputs, runs the network, decodes its outputs: the very steps of training."""

    def load_context(self, context: Any) -> None:
        """Load the export from the model's artifacts."""
        folder = Path(context.artifacts["export"])
        self._one_at_a_time = threading.Lock()  # MLflow's server answers each request in a thread, a network in one
        if (folder / "predict.py").is_file():
            model = _load_module(folder / "predict.py").open_model(folder)
            self._about, self._reader, self._answers = model.about, model.reader, model.answers
        else:  # of an older version
            self._about, self._reader, self._answers = _open_with_paddle(folder)

    def predict(self, context: Any, model_input: Inputs, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer one row for each raw input.

        Args:
            context: MLflow's; not used.
            model_input: of a model of images, a column "image" of files (their bytes, or these as base64 text), or
                pixels [N, H, W] or [N, H, W, C] uint8; of a model of tables, a table with its columns.
            params: MLflow's; not used.

        Returns:
            Columns "label", "probability" and one "p(...)" a class; or one column for each predicted value.

        Raises:
            MlflowException: the input is none that the model takes; says which part of it.
        """
        columns = self._about["input"].get("columns")
        raw = self._rows(model_input, list(columns)) if columns else self._images(model_input)
        with self._one_at_a_time:
            answers = self._answers(raw)
        return table(answers)

    def _images(self, model_input: Any) -> np.ndarray:
        """Return raw [N, H, W] or [N, H, W, 3] uint8 from files or pixels."""
        if isinstance(model_input, dict):
            model_input = model_input[IMAGE]
        elif isinstance(model_input, pd.DataFrame):
            model_input = model_input[IMAGE if IMAGE in model_input else model_input.columns[0]].to_numpy()
        files = isinstance(model_input, list) and all(isinstance(one, (bytes, str)) for one in model_input)
        given = np.atleast_1d(np.array(model_input, dtype=object) if files else np.asarray(model_input))
        if given.ndim == 1:
            if not len(given):
                raise _refused("there is no image")
            return np.concatenate([self._image(index, one) for index, one in enumerate(given)])
        return self._pixels(given, "")

    def _image(self, index: int, given: Any) -> Any:
        if isinstance(given, np.ndarray) and not given.ndim:  # what MLflow makes of "instances"
            given = given.item()
        if isinstance(given, (list, np.ndarray)):
            return self._pixels(np.asarray(given)[None], f"image {index}: ")
        data = _decoded(index, given) if isinstance(given, str) else given
        if not isinstance(data, bytes):
            raise _refused(
                f"image {index} is of type {type(given).__name__}; expected the bytes of an image file, these as "
                f"base64 text, or pixels: {self._expected()}"
            )
        try:
            return self._reader.read(io.BytesIO(data))
        except ValueError as error:
            told = re.sub(r" ?<_io.BytesIO[^>]*>", "", str(error))  # Pillow names what it was given
            raise _refused(f"image {index}: {told}") from error

    def _pixels(self, given: np.ndarray, where: str) -> np.ndarray:
        if given.dtype == object:  # numbers of a JSON text
            try:
                given = np.array(given.tolist())
            except ValueError as error:
                raise _refused(f"{where}the images are not of one size; expected {self._expected()}") from error
        rows, columns, channels = (self._about["input"][key] for key in ("height", "width", "channels"))
        shapes = [(rows, columns, channels)] + ([(rows, columns)] if channels == 1 else [])
        whole = given.dtype.kind in "ui" and (not given.size or (given.min() >= 0 and given.max() <= 255))
        if given.shape[1:] not in shapes or not whole:
            shown = f" from {given.min():g} to {given.max():g}" if given.size and given.dtype.kind in "if" else ""
            raise _refused(f"{where}got pixels {_shape(given)} {given.dtype}{shown}; expected {self._expected()}")
        return given.astype(np.uint8)

    def _expected(self) -> str:
        rows, columns, channels = (self._about["input"][key] for key in ("height", "width", "channels"))
        colours = f", {channels}" if channels > 1 else ""
        return f"[N, {rows}, {columns}{colours}] uint8, whole numbers from 0 to 255, as they are before normalisation"

    def _rows(self, model_input: Any, columns: list[str]) -> np.ndarray:
        """Return raw [N, F] float64 from a table, whatever the types of its numbers are."""
        if isinstance(model_input, dict):
            model_input = pd.DataFrame({name: np.atleast_1d(values) for name, values in model_input.items()})
        if not isinstance(model_input, pd.DataFrame):
            raise _refused(f"got {type(model_input).__name__}; expected a table with the columns {', '.join(columns)}")
        if missing := [name for name in columns if name not in model_input]:
            raise _refused(f"no column {', '.join(missing)}; expected {', '.join(columns)}")
        return np.array([_numbers(name, model_input[name]) for name in columns], dtype=np.float64).T


def table(answers: list[dict[str, Any]]) -> pd.DataFrame:
    """Return answers as `ExportedModel.predict` gives them."""
    if answers and "values" in answers[0]:
        return pd.DataFrame([answer["values"] for answer in answers])
    return pd.DataFrame(
        [
            {
                "label": answer["label"],
                "probability": answer["probability"],
                **{f"p({label})": value for label, value in answer["probabilities"].items()},
            }
            for answer in answers
        ]
    )


def _numbers(column: str, values: Iterable[Any]) -> list[float]:
    found = []
    for row, value in enumerate(values):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):  # NaN would come back as an answer that is no JSON
            raise _refused(f"row {row}, column {column}: {value!r} is not a finite number")
        found.append(number)
    return found


def _decoded(index: int, text: str) -> bytes:
    """Return the bytes of base64 text, also where it is an URL of data."""
    body = "".join(text.rpartition(";base64,")[2].split())
    try:
        return base64.b64decode(body.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise _refused(
            f"image {index}: {shown!r} is not base64 text. Send the content of the file: base64 -w0 FILE"
        ) from error


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape))}]"


def _refused(why: str) -> MlflowException:
    """Return an error that MLflow's server answers with status 400: who asked is to ask otherwise."""
    error: MlflowException = MlflowException.invalid_parameter_value(f"The model does not take this input: {why}.")
    return error


def _open_with_paddle(folder: Path) -> tuple[dict[str, Any], Any, Callable[[np.ndarray], list[dict[str, Any]]]]:
    import paddle
    import yaml

    about = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    preprocess = _load_module(folder / "preprocess.py")
    reader, target = (preprocess.from_description(about[part]) for part in ("input", "target"))
    network = paddle.jit.load(str(folder / "model"))
    network.eval()

    def answers(raw: np.ndarray) -> list[dict[str, Any]]:
        parts = (raw[start : start + BATCH_SIZE] for start in range(0, len(raw), BATCH_SIZE))
        with paddle.no_grad():
            outputs = [network(paddle.to_tensor(reader.normalise(part))).numpy() for part in parts]
        return [answer for part in outputs for answer in target.decode(part)]

    return about, reader, answers


def _load_module(path: Path) -> ModuleType:
    """Import a file under a name made from its content: two models may bring two versions of it."""
    name = f"expkit_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


mlflow.models.set_model(ExportedModel())
