"""Writes exports, and believes each only after a fresh process has answered with it as the model in memory does."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml

from expkit import preprocess, standalone
from expkit.api import Array, Data, Learner
from expkit.config import ExperimentConfig
from expkit.errors import ExportError
from expkit.export.certificate import ACCURACY, Certificate, RuntimeCheck, compare, lost, measure_of, score
from expkit.export.formats import FORMATS
from expkit.export.fresh import Answer, FreshProcess
from expkit.provenance import pinned
from expkit.runlog import log
from expkit.settings import ExportSettings
from expkit.tracking.text import masked

OWN = "learner"
"""Stands for the runtime of a learner that writes files of its own, none of Paddle's."""
_ROUNDING = 1e-4
"""Relative differences below it need no other explanation, in float32."""
EXAMPLES = 8
"""Raw inputs that stand beside an export, to try it with."""
_INT8_SAMPLES = 2048
"""An accuracy lost is told apart from chance by more samples than a difference is."""
_CALIBRATION_SAMPLES = 512


@dataclass
class Exported:
    """What came of exporting.

    Attributes:
        certificates: of the formats that were exported.
        refused: why others were not, by format.
    """

    certificates: dict[str, Certificate] = field(default_factory=dict)
    refused: dict[str, ExportError] = field(default_factory=dict)

    def check(self) -> None:
        """Say what was refused.

        Raises:
            ExportError: something was.
        """
        if self.refused:
            texts = dict.fromkeys(str(error) for error in self.refused.values())
            raise ExportError("\n".join(texts)) from next(iter(self.refused.values()))


class Exporter:
    """Exports models; from its start on, a process in which they are checked makes ready.

    Args:
        settings: formats, tolerance and number of samples; with `enabled=False`, no process is started.
    """

    def __init__(self, settings: ExportSettings) -> None:
        self.settings = settings
        self._fresh: FreshProcess | None = None
        self._trouble = ""
        try:
            if settings.enabled:
                self._fresh = FreshProcess()
        except OSError as error:  # a run that is trained must not be lost for it
            self._trouble = f"no process could be started to check exports in: {error.strerror or error}."

    def __enter__(self) -> Exporter:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process in which exports are checked."""
        if self._fresh is not None:
            self._fresh.close()

    def export(self, learner: Learner, data: Data, folder: Path, facts: Mapping[str, Any]) -> Exported:
        """Export into `folder/<format>` for each format; what is refused leaves what was there before.

        Args:
            learner: holds the weights to export.
            data: for the spec, and the samples to compare and to calibrate on.
            folder: of all exports of a run.
            facts: about the run, for `model.yaml`.
        """
        exported = Exported()
        if self._fresh is None:
            if self.settings.enabled:
                exported.refused["model"] = ExportError(self._trouble)
            return exported
        unfinished = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        name = "model"  # what goes wrong before a format is its turn is wrong for all of them
        try:
            source = unfinished / "source"
            source.mkdir(parents=True)
            work = _Work(learner, data, facts, self.settings, self._fresh, source, learner.export(source))
            for name in self.settings.formats:
                try:
                    certificate = work.export(name, unfinished / name)
                    _put(unfinished / name, folder / name)
                    exported.certificates[name] = certificate
                    log.info("exported as %s: %s", name, certificate)
                except ExportError as error:
                    exported.refused[name] = error
        except ExportError as error:
            exported.refused[name] = error
        except OSError as error:
            why = f"the export cannot be written to {folder}: {error.strerror or error}."
            exported.refused[name] = ExportError(why)
        except Exception as error:  # noqa: BLE001 - a model's own code; a run must not lose its result for it
            log.info("failed to export", exc_info=True)
            exported.refused[name] = ExportError(f"the model cannot be exported: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return exported


def _put(made: Path, place: Path) -> None:
    """Move a folder to its place; what was there before is there until then."""
    place.parent.mkdir(parents=True, exist_ok=True)
    before = made.with_name(f"{made.name}.before")
    if place.exists():
        place.rename(before)
    made.rename(place)


@dataclass
class _Work:
    """One model, of which several formats are made."""

    learner: Learner
    data: Data
    facts: Mapping[str, Any]
    settings: ExportSettings
    fresh: FreshProcess
    source: Path
    own: Callable[[Array], Array]

    def export(self, name: str, target: Path) -> Certificate:
        """Write one format, and the certificate of it.

        Raises:
            ExportError: it cannot be written, or answers differently.
        """
        form = FORMATS[name]
        target.mkdir()
        of_paddle = (self.source / "model.pdiparams").is_file()
        if not of_paddle and name != "paddle":
            raise ExportError(
                f"export.formats: {name} is made of Paddle's model.json and model.pdiparams, and this learner exports "
                f"{', '.join(sorted(path.name for path in self.source.iterdir())) or 'nothing'}. Leave {name} out."
            )
        if of_paddle:
            form.make(self.source, target, self._calibration)
        else:
            shutil.copytree(self.source, target, dirs_exist_ok=True)
        samples = self.settings.samples if form.exact else max(self.settings.samples, _INT8_SAMPLES)
        raw, targets = self.data.valid.gather(_spread(len(self.data.valid), samples))
        inputs = self.data.spec.input.normalise(raw)
        model = self._predict(inputs)
        described = _furnish(target, name, self.data, self.facts)
        _describe(target, described, form.runtimes if of_paddle else ())
        answers = (
            self.fresh.run(target, form.runtimes, inputs) if of_paddle else {OWN: Answer(outputs=self.own(inputs))}
        )
        certificate = self._certify(name, model, targets, answers)
        (target / "certificate.json").write_text(json.dumps(asdict(certificate), indent=2), encoding="utf-8")
        _describe(target, described, certificate.passed if of_paddle else ())
        np.save(target / "example.npy", raw[:EXAMPLES])
        return certificate

    def _predict(self, inputs: Array) -> Array:
        size = standalone.BATCH_SIZE
        own = np.concatenate([self.learner.predict(inputs[n : n + size]) for n in range(0, len(inputs), size)])
        if not np.isfinite(own).all():
            raise ExportError("the trained model answers NaN or infinity on validation samples; nothing was exported.")
        return own

    def _calibration(self) -> Array:
        raw, _ = self.data.train.gather(_spread(len(self.data.train), _CALIBRATION_SAMPLES))
        inputs: Array = self.data.spec.input.normalise(raw)
        return inputs

    def _certify(self, name: str, own: Array, targets: Array, answers: Mapping[str, Answer]) -> Certificate:
        spec, form = self.data.spec, FORMATS[name]
        model_score, checks = score(own, targets, spec), {}
        for runtime, answer in answers.items():
            if answer.outputs is None:
                checks[runtime] = RuntimeCheck(error=answer.error)
                continue
            check = compare(own, answer.outputs, targets, spec, answer.milliseconds)
            error = self._differs(check, len(own)) if form.exact else self._loses(name, check, model_score, len(own))
            checks[runtime] = RuntimeCheck(**{**asdict(check), "error": error})
        first = next(iter(checks))  # what everybody who has the format's own library can run
        if checks[first].error:
            what = "the exported model" if name == "paddle" else f"the model exported as {name}"
            raise ExportError(f"{what} {checks[first].error} Nothing was exported as {name}.")
        tolerance = self.settings.tolerance if form.exact else None
        found = Certificate(name, len(own), tolerance, measure_of(spec), model_score, first, checks)
        return Certificate(**{**vars(found), "runtime": found.passed[0]})

    def _differs(self, check: RuntimeCheck, samples: int) -> str:
        if min(check.largest_difference, check.largest_relative) <= self.settings.tolerance:
            return ""  # NaN is not
        cause = (
            "So much is rounding, which each runtime does in its own way: allow more."
            if check.largest_relative < _ROUNDING
            else "Layers that act differently in evaluation, or randomness in `forward`, are the usual causes."
        )
        return (
            f"differs from the trained one by up to {check.largest_difference:.3g} on {samples} samples "
            f"(export.tolerance={self.settings.tolerance:g}). {cause}"
        )

    def _loses(self, name: str, check: RuntimeCheck, before: float, samples: int) -> str:
        measure, allowed = measure_of(self.data.spec), self.settings.max_accuracy_loss
        if lost(measure, before, check.score) <= allowed and np.isfinite(check.largest_difference):
            return ""
        change = f"{before:.4g} to {check.score:.4g}"
        told = f"{measure} falls from {change}" if measure == ACCURACY else f"{measure} grows from {change}"
        return (
            f"loses too much: its {told} on {samples} validation samples (export.max_accuracy_loss={allowed:g}). "
            f"Allow more of it, or leave {name} out of export.formats."
        )


def _spread(length: int, wanted: int) -> Array:
    """Return indices of samples that are spread over a split, which may be sorted by class."""
    return np.linspace(0, length - 1, min(length, wanted)).astype(np.int64)


def _furnish(folder: Path, name: str, data: Data, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put beside a network what runs it; returns what `model.yaml` is to say, but for the runtimes."""
    spec = data.spec
    parts = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".pdiparams", ".onnx"))
    for module, copy in ((preprocess, "preprocess.py"), (standalone, "predict.py")):
        shutil.copyfile(str(module.__file__), folder / copy)
    pins = [pinned(need, f"{need}-gpu") or need for need in (*FORMATS[name].needs, "numpy", "pyyaml", "pillow")]
    (folder / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    return {
        "format": 2,
        "written_as": name,
        "runtimes": [],
        **facts,
        "data": {
            "name": spec.name,
            "source": {k: v and masked(v) for k, v in asdict(spec.source).items()},
            "fingerprint": spec.fingerprint,
        },
        "input": spec.input.describe(),
        "input_name": "input",
        "input_shape": [None, *spec.input_shape],
        "input_dtype": spec.input_dtype,
        "target": spec.target.describe(),
        "output_name": FORMATS[name].output,
        "output_shape": [None, spec.outputs],
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts},
    }


def _describe(folder: Path, described: Mapping[str, Any], runtimes: Sequence[str]) -> None:
    text = (
        "# What this exported model takes and answers. `predict.py` beside it reads this file, and needs no more than\n"
        "# what requirements.txt lists:\n"
        "#   python predict.py FILE...\n"
        "#   from predict import open_model; model = open_model(); model.answers(model.reader.read('FILE'))\n"
        "# In your own code: `input` and `target` say what `preprocess.py` does before and behind the network.\n"
    )
    text += yaml.safe_dump({**described, "runtimes": list(runtimes)}, sort_keys=False, allow_unicode=True)
    (folder / "model.yaml").write_text(text, encoding="utf-8")


def facts_about(config: ExperimentConfig, run: str, metrics: Mapping[str, float], **further: Any) -> dict[str, Any]:
    """Return what `model.yaml` says of the run.

    Args:
        config: of it.
        run: its id.
        metrics: of the weights that are exported.
        further: what else there is to say.
    """
    return {
        "name": config.name,
        "run": run,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **further,
        "choices": dict(config.choices),
        "metrics": {name: round(value, 6) for name, value in metrics.items()},
    }
