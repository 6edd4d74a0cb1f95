"""Answers for files and arrays, from an exported model or from the weights of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from expkit import cpu_tuning, device, standalone
from expkit.api import Array, Learner
from expkit.checkpoint import read_snapshot
from expkit.errors import ExportError
from expkit.inputs import Inputs, Sample
from expkit.parts import ConfiguredParts
from expkit.past import read_past
from expkit.preprocess import KINDS, from_description
from expkit.raw_arrays import fitting

BATCH_SIZE = 256
NOT_FINITE = (
    "the model answers NaN or infinity: its weights are broken, or this input is far from what it was trained on"
)


@dataclass(frozen=True)
class FileAnswer:
    """What the model says of one file.

    Attributes:
        file: as it was given.
        answers: one for an image, one a row for a table; see `Classes.decode` and `Values.decode`.
        error: why the file could not be read; empty when it could.
    """

    file: str
    answers: Sequence[dict[str, Any]]
    error: str = ""


@dataclass(frozen=True)
class Answered:
    """What the model says of one sample.

    Attributes:
        sample: what was asked.
        answer: see `Classes.decode` and `Values.decode`; None where the sample could not be read.
    """

    sample: Sample
    answer: dict[str, Any] | None


class Predictor:
    """A model that is ready to answer.

    Args:
        reader: reads and normalises files.
        target: turns outputs into answers.
        outputs: of the model, for normalised inputs.
        description: facts about model and data, as `model.yaml` has them.

    Attributes:
        reader: as above.
        target: as above.
        description: as above.
        batch_size: most samples that the network sees at once.
        runtime: what runs the model: "jit", "inference" or "onnxruntime" for an export, else "paddle".
        examples: raw samples [N, ...] that an export brings; None where it brings none.
    """

    def __init__(
        self, reader: Any, target: Any, outputs: Callable[[Array], Array], description: Mapping[str, Any]
    ) -> None:
        self.reader, self.target, self.description = reader, target, description
        self.batch_size, self.runtime = BATCH_SIZE, "paddle"
        self.examples: Array | None = None
        self._outputs = outputs

    @classmethod
    def of_export(cls, folder: Path, runtime: str = "") -> Predictor:
        """Load an exported model.

        Args:
            folder: holds `model.yaml`.
            runtime: "jit", "inference" or "onnxruntime"; by default the fastest of those that gave the trained model's
                answers at the export.

        Raises:
            ExportError: the folder holds no whole export, or none that this runtime can load here.
        """
        if not (folder / "model.yaml").is_file():
            raise ExportError(
                f"{folder} holds no exported model (model.yaml missing). Was the run interrupted, or started with "
                "export=none?"
            )
        try:
            description = standalone.read_about(folder)
            kind = description["input"]["kind"]
            if kind not in KINDS:
                raise ExportError(
                    f"this model's inputs are of the kind {kind!r}, which its dataset's plugin brought and `predict` "
                    f"cannot read from files. Load {folder} with standalone.connect and feed it yourself."
                )
            reader, target = from_description(description["input"]), from_description(description["target"])
        except standalone.UnusableExportError as error:
            raise ExportError(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{folder / 'model.yaml'} is damaged: {error}.") from error
        made = cls(reader, target, _connected(folder, runtime, description), description)
        made.runtime = runtime or next(iter(standalone.runtimes(folder, description)), made.runtime)
        made.examples = _examples(folder, reader)
        return made

    @classmethod
    def of_checkpoint(cls, folder: Path) -> Predictor:
        """Build the model of a run and load the weights of one of its checkpoints; its data is not needed.

        Args:
            folder: the checkpoint: a folder in `checkpoints/` of a run.

        Raises:
            RunNotFoundError: the folder is in no run.
            CheckpointError: a file of the checkpoint is missing or damaged.
            ConfigError: only the dataset's plugin knows how inputs are read.
        """
        past, snapshot = read_past(folder.parent.parent), read_snapshot(folder)
        spec = past.spec()
        cpu_tuning.tune(past.config.device.tune)
        used = device.select("cpu", 0, past.config.device.threads)
        parts = ConfiguredParts(past.config, spec, steps_per_epoch=1, device=used, training=False)
        learner: Learner = past.config.learner.build(parts=parts)
        learner.load_state_dict(snapshot.learner)
        facts = {key: past.record.get(key, "") for key in ("name", "choices", "data")}
        facts |= {"run": past.record.get("id", ""), "target": spec.target.describe()}
        return cls(spec.input, spec.target, learner.predict, facts)

    def answers(self, raw: Any) -> list[dict[str, Any]]:
        """Answer for raw samples, in batches.

        Args:
            raw: images [N, H, W] or [N, H, W, 3] uint8, or rows [N, F] of numbers; one sample needs no first axis.

        Returns:
            One answer a sample; see `Classes.decode` and `Values.decode`.

        Raises:
            UnreadableInputError: these are no samples of this model.
        """
        array = fitting(raw, self.reader)
        parts = (array[start : start + self.batch_size] for start in range(0, len(array), self.batch_size))
        return [answer for part in parts for answer in self._batch(part)]

    def files(self, files: Sequence[str]) -> list[FileAnswer]:
        """Answer for each file; one that cannot be read does not keep the others from being answered.

        Args:
            files: images, CSV files or `.npy` arrays, folders of these, or "-" for standard input.
        """
        by_file = groupby(self.stream(Inputs(files, self.reader).samples()), lambda one: one.sample.place)
        return [_together(list(same)) for _, same in by_file]

    def stream(self, given: Iterable[Sample]) -> Iterator[Answered]:
        """Answer for each sample in turn; only one batch of them is held in memory.

        Args:
            given: samples, and reasons why there is none.
        """
        waiting: list[Sample] = []
        ready = 0
        for sample in given:
            waiting.append(sample)
            ready += sample.raw is not None
            if ready == self.batch_size or (not ready and len(waiting) == self.batch_size):
                yield from self._answered(waiting)
                waiting, ready = [], 0
        yield from self._answered(waiting)

    def _answered(self, waiting: Sequence[Sample]) -> Iterator[Answered]:
        raw = [sample.raw for sample in waiting if sample.raw is not None]
        answers = iter(self._batch(np.stack(raw)) if raw else [])
        for sample in waiting:
            answer = None if sample.raw is None else next(answers)
            if answer is not None and not _is_finite(answer):
                yield Answered(replace(sample, raw=None, error=NOT_FINITE), None)
            else:
                yield Answered(sample, answer)

    def _batch(self, raw: Array) -> list[dict[str, Any]]:
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of such inputs is looked at
            answers: list[dict[str, Any]] = self.target.decode(self._outputs(self.reader.normalise(raw)))
        return answers


def _is_finite(answer: Mapping[str, Any]) -> bool:
    return all(math.isfinite(number) for number in (answer.get("probabilities") or answer.get("values", {})).values())


def _together(answered: Sequence[Answered]) -> FileAnswer:
    errors = [one.sample for one in answered if one.sample.error]
    error = (
        "" if not errors else errors[0].error if errors[0].row is None else f"row {errors[0].row}: {errors[0].error}"
    )
    return FileAnswer(answered[0].sample.file, [one.answer for one in answered if one.answer is not None], error)


def _examples(folder: Path, reader: Any) -> Array | None:
    try:
        return fitting(np.load(folder / "example.npy", allow_pickle=False), reader)
    except (OSError, ValueError, EOFError):  # UnreadableInputError is a ValueError
        return None


def _connected(folder: Path, runtime: str, description: dict[str, Any]) -> Callable[[Array], Array]:
    try:
        return standalone.connect(folder, runtime, description)
    except standalone.UnusableExportError as error:
        raise ExportError(str(error)) from error
    except ImportError as error:
        raise ExportError(
            f"{folder} needs {error.name or error}, which is not installed here. Install it (pip install "
            f"{error.name or 'PACKAGE'}), or choose another format of the model: --format paddle."
        ) from error
