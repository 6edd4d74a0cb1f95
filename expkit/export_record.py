"""How exports are told to a run's record: its `run.json`, and its run in the tracking store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from expkit import tracking
from expkit.export import Certificate


def recorded(certificates: Mapping[str, Certificate]) -> dict[str, Any]:
    """Return what `run.json` says of exports."""
    return {name: asdict(certificate) for name, certificate in certificates.items()}


def model_name(written_as: str, first: str) -> str:
    """Return the name of an export among the models of its run: "model", and "model-onnx" of a further format."""
    return "model" if written_as == first else f"model-{written_as}"


def track_exports(
    tracker: tracking.Tracker, exports: Path, certificates: Mapping[str, Certificate], *, step: int, first: str
) -> dict[str, str]:
    """Record exports in the tracking store, each as a model.

    Args:
        tracker: of the run.
        exports: the folder that holds those of the run.
        certificates: of what was exported, by format.
        step: x of the run's final metrics: the epoch of the weights.
        first: the format that is called "model".

    Returns:
        URIs for `mlflow.pyfunc.load_model`, by format; without those that MLflow cannot serve.
    """
    tracker.set_tags({f"export.{name}": str(certificate) for name, certificate in certificates.items()})
    found = {}
    for name in certificates:
        folder = exports / name
        example = np.load(folder / "example.npy")
        uri = tracker.log_model(folder, example, name=model_name(name, first), step=step)
        if uri:
            found[name] = uri
    return found
