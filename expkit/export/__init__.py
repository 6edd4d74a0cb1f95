"""Exports the best weights, and believes the export only after comparing what was written with the model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from expkit import preprocess
from expkit.api import Array, Data, Learner
from expkit.errors import ExportError
from expkit.settings import ExportSettings
from expkit.tracking.text import masked


@dataclass(frozen=True)
class Certificate:
    """How an export compares with the model in memory.

    Attributes:
        samples: validation samples that both answered.
        largest_difference: largest absolute difference of an output.
        same_answer: share of samples with the same class; 1.0 for values.
        tolerance: what was allowed.
    """

    samples: int
    largest_difference: float
    same_answer: float
    tolerance: float


def export_model(
    learner: Learner, data: Data, folder: Path, settings: ExportSettings, facts: Mapping[str, Any]
) -> Certificate:
    """Export into `folder`, or raise and leave no folder.

    The folder gets the inference model, `model.yaml` (inputs, outputs, preprocessing, labels, facts), `preprocess.py`
    (what reads and decodes, free of expkit) and `certificate.json`.

    Args:
        learner: holds the weights to export.
        data: for the spec and the samples to compare on.
        folder: is replaced if it exists.
        settings: tolerance and number of samples.
        facts: about the run, for `model.yaml`.

    Raises:
        ExportError: the model cannot be exported, or the export answers differently.
    """
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        exported = learner.export(unfinished)
        count = min(settings.samples, len(data.valid))
        raw, _ = data.valid.gather(np.arange(count))
        inputs = data.spec.input.normalise(raw)
        certificate = _compare(learner.predict(inputs), exported(inputs), data, settings.tolerance)
        (unfinished / "certificate.json").write_text(json.dumps(asdict(certificate), indent=2), encoding="utf-8")
        _describe(unfinished, data, facts)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as error:
        raise ExportError(f"the export cannot be written to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return certificate


def _compare(own: Array, exported: Array, data: Data, tolerance: float) -> Certificate:
    if own.shape != exported.shape:
        raise ExportError(f"the export answers {exported.shape} where the model answers {own.shape}.")
    if not np.isfinite(own).all():
        raise ExportError("the trained model answers NaN or infinity on validation samples; nothing was exported.")
    largest = float(np.abs(own.astype(np.float64) - exported.astype(np.float64)).max())
    same = float((own.argmax(axis=1) == exported.argmax(axis=1)).mean()) if data.spec.is_classification else 1.0
    if not largest <= tolerance:  # so that NaN is an error too
        raise ExportError(
            f"the exported model differs from the trained one by up to {largest:.3g} on {len(own)} samples "
            f"(export.tolerance={tolerance:g}); nothing was exported. Layers that act differently in evaluation, or "
            "randomness in `forward`, are the usual causes."
        )
    return Certificate(len(own), largest, same, tolerance)


def _describe(folder: Path, data: Data, facts: Mapping[str, Any]) -> None:
    spec = data.spec
    description = {
        "format": 1,
        **facts,
        "data": {
            "name": spec.name,
            "source": {k: v and masked(v) for k, v in asdict(spec.source).items()},
            "fingerprint": spec.fingerprint,
        },
        "input": spec.input.describe(),
        "input_shape": [None, *spec.input_shape],
        "input_dtype": spec.input_dtype,
        "target": spec.target.describe(),
        "output_shape": [None, spec.outputs],
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("model.*"))},
    }
    text = (
        "# What this exported model takes and answers. `preprocess.py` beside it reads this file:\n"
        "#   spec = yaml.safe_load(open('model.yaml')); reader = preprocess.from_description(spec['input'])\n"
        "#   outputs = paddle.jit.load('model')(paddle.to_tensor(reader.normalise(reader.read('file'))))\n"
        "#   preprocess.from_description(spec['target']).decode(outputs.numpy())\n"
    )
    text += yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    shutil.copyfile(Path(preprocess.__file__), folder / "preprocess.py")
