"""Answers for files, from a run's exported model or from the weights of a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from expkit import cpu_tuning, device
from expkit.api import Array, Learner
from expkit.checkpoint import read_snapshot
from expkit.cpu_tuning import import_paddle
from expkit.errors import ExportError
from expkit.parts import ConfiguredParts
from expkit.past import read_past
from expkit.preprocess import KINDS, ImageInput, UnreadableInputError, from_description


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


class Predictor:
    """A model that is ready to answer.

    Args:
        reader: reads and normalises files.
        target: turns outputs into answers.
        outputs: of the model, for normalised inputs.
        description: facts about model and data, as `model.yaml` has them.
    """

    def __init__(
        self, reader: Any, target: Any, outputs: Callable[[Array], Array], description: Mapping[str, Any]
    ) -> None:
        self._input, self._target, self._outputs, self.description = reader, target, outputs, description

    @classmethod
    def of_export(cls, folder: Path) -> Predictor:
        """Load the exported model of a run.

        Args:
            folder: the `export/` folder of a run.

        Raises:
            ExportError: the folder holds no whole export.
        """
        missing = [n for n in ("model.yaml", "model.json", "model.pdiparams") if not (folder / n).is_file()]
        if missing:
            raise ExportError(
                f"{folder} holds no exported model ({', '.join(missing)} missing). Was the run interrupted, or started "
                "with export=none?"
            )
        try:
            description: dict[str, Any] = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
            kind = description["input"]["kind"]
            if kind not in KINDS:
                raise ExportError(
                    f"this model's inputs are of the kind {kind!r}, which its dataset's plugin brought and `predict` "
                    f"cannot read from files. Load {folder / 'model'} with paddle.jit.load and feed it yourself."
                )
            reader, target = from_description(description["input"]), from_description(description["target"])
            digests = dict(description.get("sha256", {}))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{folder / 'model.yaml'} is damaged: {error}.") from error
        _check_files(folder, digests)
        paddle = import_paddle()
        try:
            model = paddle.jit.load(str(folder / "model"))
        except (OSError, RuntimeError, ValueError) as error:
            raise ExportError(f"{folder}: Paddle cannot load the exported model: {error}") from error
        model.eval()

        def outputs(inputs: Array) -> Array:
            with paddle.no_grad():
                answers: Array = model(paddle.to_tensor(inputs)).numpy()
            return answers

        return cls(reader, target, outputs, description)

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
        facts = {"data": past.record["data"], "target": spec.target.describe()}
        return cls(spec.input, spec.target, learner.predict, facts)

    def files(self, files: Sequence[str]) -> list[FileAnswer]:
        """Answer for each file; one that cannot be read does not keep the others from being answered."""
        return [self._file(file) for file in files]

    def _file(self, file: str) -> FileAnswer:
        path = Path(file)
        if not path.is_file():
            reason = f"it is a folder; name its files: {path}/*" if path.is_dir() else "there is no such file"
            return FileAnswer(file, (), reason)
        try:
            raw = self._input.read(path)
        except UnreadableInputError as error:
            return FileAnswer(file, (), str(error))
        if isinstance(self._input, ImageInput) and raw.size > 0 and raw.min() == raw.max():
            return FileAnswer(file, (), "all its pixels are the same, so there is nothing to see")
        return FileAnswer(file, self._target.decode(self._outputs(self._input.normalise(raw))))


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Hold the files against what was exported: of truncated weights, Paddle reads garbage without complaint."""
    for name, digest in digests.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ExportError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if found != digest:
            raise ExportError(f"{folder / name} is damaged: it is not the file that was exported.")
