"""What the page and `GET /api/model` say of a model."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.predict import Predictor
from expkit.preprocess import Classes, ImageInput, TableInput
from expkit.raw_arrays import sample_shape
from expkit.serving.limits import Limits

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp", "image/tiff")
CSV = "text/csv"
JSON = "application/json"
FILES = "multipart/form-data"
MOST_EXAMPLES = 8
RUNTIMES = {"jit": "Paddle", "paddle": "Paddle", "inference": "Paddle Inference", "onnxruntime": "ONNX Runtime"}


def about(model: Predictor, reference: str, limits: Limits) -> dict[str, Any]:
    """Describe a model in plain values.

    Args:
        model: to describe.
        reference: what the user called it.
        limits: what a request may cost.
    """
    facts = model.description
    data = facts.get("data", {})
    return {
        "name": str(facts.get("name") or reference),
        "run": str(facts.get("run") or ""),
        "created": str(facts.get("created") or ""),
        "choices": {kind: (facts.get("choices") or {}).get(kind, "") for kind in ("experiment", "model", "dataset")},
        "data": {
            "name": str(data.get("name", "")),
            "stand_in_for": data.get("source", {}).get("stand_in_for"),
            "fingerprint": str(data.get("fingerprint", "")),
        },
        "metrics": dict(facts.get("metrics", {})),
        "runtime": RUNTIMES.get(model.runtime, model.runtime),
        "expkit": version("expkit"),
        "input": _input(model.reader, model.examples),
        "target": _target(model.target),
        "takes": [*IMAGES, FILES, JSON] if isinstance(model.reader, ImageInput) else [CSV, FILES, JSON],
        "limits": {
            key: value for key, value in asdict(limits).items() if key in ("bytes", "items", "pixels", "seconds")
        },
        "examples": _examples(model.reader, model.examples),
    }


def picture(pixels: Array) -> str:
    """Return raw pixels [H, W] or [H, W, 3] uint8 as the data URL of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def warm_up(model: Predictor) -> None:
    """Let the model answer once: the first answer takes longer, and one that cannot be had is better known now."""
    dtype = np.uint8 if isinstance(model.reader, ImageInput) else np.float64
    model.answers(np.zeros((1, *sample_shape(model.reader)), dtype=dtype))


def _input(reader: Any, examples: Array | None) -> dict[str, Any]:
    if isinstance(reader, TableInput):
        start = starting_row(reader, examples)
        columns = [{"name": name, "start": value} for name, value in zip(reader.columns, start, strict=True)]
        return {"kind": "table", "columns": columns}
    # A dataset whose images are bright on dark inverts files that are dark on bright: draw as the network saw it.
    size = {"height": reader.height, "width": reader.width, "channels": reader.channels}
    return {"kind": "image", **size, "bright_on_dark": reader.invert == "auto"}


def _target(target: Any) -> dict[str, Any]:
    if isinstance(target, Classes):
        return {"kind": "classes", "labels": list(target.labels), "exclusive": target.scores != "sigmoid"}
    return {"kind": "values", "names": list(target.names), "unit": target.unit}


def starting_row(reader: TableInput, examples: Array | None) -> list[float]:
    """Return a row of the middle of the training data, for a form to start from.

    That is the training mean. Where the columns were normalised by something else (their minimum, or not at all), it
    is the mean of the examples.
    """
    mean = list(reader.mean)
    if examples is None or not len(examples):
        return mean
    rows = np_rows(examples)
    bound = all(value <= low for value, low in zip(mean, rows.min(axis=0), strict=True))
    unknown = not any(mean) and set(reader.scale) == {1.0}
    return [float(value) for value in rows.mean(axis=0)] if bound or unknown else mean


def np_rows(examples: Array) -> Array:
    """Return examples as rows [N, F] float64."""
    rows: Array = examples.reshape(len(examples), -1).astype("float64")
    return rows


def _examples(reader: Any, examples: Array | None) -> Sequence[Any]:
    if examples is None:
        return []
    if isinstance(reader, TableInput):
        return [[float(value) for value in row] for row in np_rows(examples[:MOST_EXAMPLES])]
    return [picture(pixels) for pixels in examples[:MOST_EXAMPLES]]
