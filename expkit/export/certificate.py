"""What an export answers beside what the trained model answers, on the same real samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expkit.api import Array, Classes, DataSpec, Values
from expkit.errors import ExportError

ACCURACY = "accuracy"
ERROR = "mean absolute error"


@dataclass(frozen=True)
class RuntimeCheck:
    """What one runtime makes of an export.

    Attributes:
        largest_difference: largest absolute difference of an output to the model's.
        largest_relative: largest difference of an output, relative to the largest output of its sample (or 1, if that
            is less).
        same_answer: share of samples with the same class; 1.0 for values.
        score: what the export reaches on the samples; see `Certificate.measure`.
        milliseconds: that a call takes, by batch size: {"1": 0.14, "32": 1.3}.
        error: why it cannot be used; empty where it can.
    """

    largest_difference: float = float("nan")
    largest_relative: float = float("nan")
    same_answer: float = float("nan")
    score: float = float("nan")
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def speed(self) -> float:
        """The less, the faster: the product of what calls of all batch sizes take."""
        return float(np.prod(list(self.milliseconds.values()))) if self.milliseconds else float("inf")


@dataclass(frozen=True)
class Certificate:
    """How an export compares with the model in memory.

    Attributes:
        format: one of `FORMATS`.
        samples: validation samples that both answered.
        tolerance: by how much an output may differ, absolutely or relatively; None for int8.
        measure: what a score is: "accuracy", or "mean absolute error" in the unit of the target.
        model_score: what the model reaches on the samples.
        runtime: the fastest of those that answer as the model does.
        runtimes: what each of them makes of it.
    """

    format: str
    samples: int
    tolerance: float | None
    measure: str
    model_score: float
    runtime: str
    runtimes: Mapping[str, RuntimeCheck]

    @property
    def best(self) -> RuntimeCheck:
        """What the fastest runtime makes of it."""
        return self.runtimes[self.runtime]

    @property
    def passed(self) -> list[str]:
        """The runtimes that can be used, the fastest first."""
        fine = [name for name, check in self.runtimes.items() if not check.error]
        return sorted(fine, key=lambda name: self.runtimes[name].speed)

    def __str__(self) -> str:
        told = f"differs by up to {self.best.largest_difference:.1e} from the model on {self.samples} samples"
        if self.tolerance is None:
            told += f"; its {self.measure} is {self.best.score:.4g}, the model's {self.model_score:.4g}"
        refused = [name for name, check in self.runtimes.items() if check.error]
        if refused:
            told += f"; {', '.join(refused)} must not run it, see certificate.json"
        return told


def certificates_of(record: Mapping[str, Any]) -> dict[str, Certificate]:
    """Return the certificates in the record of a run, by format; an old one has one, of Paddle's format."""
    export = record.get("export") or {}
    if "samples" in export:
        values = {name: export[name] for name in ("largest_difference", "same_answer")}
        old = RuntimeCheck(largest_relative=values["largest_difference"], **values)
        export = {"paddle": ("paddle", export["samples"], export["tolerance"], "", float("nan"), "jit", {"jit": old})}
        return {name: Certificate(*parts) for name, parts in export.items()}
    found = {}
    for name, values in export.items():
        checks = {runtime: RuntimeCheck(**check) for runtime, check in values["runtimes"].items()}
        found[name] = Certificate(**{**values, "runtimes": checks})
    return found


def measure_of(spec: DataSpec) -> str:
    """Return what scores the answers for such targets."""
    return ACCURACY if spec.is_classification else ERROR


def score(outputs: Array, targets: Array, spec: DataSpec) -> float:
    """Return the accuracy of outputs [N, K], or their mean absolute error in the unit of the target."""
    if isinstance(spec.target, Classes):
        true = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float((outputs.argmax(axis=1) == true).mean())
    scale = np.asarray(spec.target.scale) if isinstance(spec.target, Values) else 1.0
    return float((np.abs(outputs.astype(np.float64) - targets) * scale).mean())


def lost(measure: str, before: float, after: float) -> float:
    """Return what is lost: of an accuracy the difference, of an error its growth as a share of it."""
    if measure == ACCURACY:
        return before - after
    return (after - before) / before if before else float(after > 0) * float("inf") if after else 0.0


def compare(
    own: Array, exported: Array, targets: Array, spec: DataSpec, milliseconds: Mapping[str, float]
) -> RuntimeCheck:
    """Compare the answers of an export with the model's.

    Args:
        own: outputs [N, K] of the model.
        exported: those of the export.
        targets: of the samples.
        spec: of the data.
        milliseconds: of the runtime, by batch size.

    Raises:
        ExportError: the shapes differ.
    """
    if own.shape != exported.shape:
        raise ExportError(f"the export answers {exported.shape} where the model answers {own.shape}.")
    apart = np.abs(own.astype(np.float64) - exported.astype(np.float64)).reshape(len(own), -1).max(axis=1)
    size = np.maximum(np.abs(own.astype(np.float64)).reshape(len(own), -1).max(axis=1), 1.0)
    same = (own.argmax(axis=1) == exported.argmax(axis=1)).mean() if spec.is_classification else 1.0
    return RuntimeCheck(
        float(apart.max()), float((apart / size).max()), float(same), score(exported, targets, spec), dict(milliseconds)
    )
