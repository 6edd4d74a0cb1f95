"""Answers for files, from a run's exported model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from expkit.cpu_tuning import import_paddle
from expkit.errors import ExportError
from expkit.preprocess import KINDS, UnreadableInputError, from_description


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
    """An exported model, ready to answer.

    Args:
        folder: the `export/` folder of a run.

    Raises:
        ExportError: the folder holds no whole export.

    Attributes:
        description: the contents of `model.yaml`.
    """

    def __init__(self, folder: Path) -> None:
        missing = [n for n in ("model.yaml", "model.json", "model.pdiparams") if not (folder / n).is_file()]
        if missing:
            raise ExportError(
                f"{folder} holds no exported model ({', '.join(missing)} missing). Was the run interrupted, or started "
                "with export=none?"
            )
        try:
            self.description: dict[str, Any] = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
            kind = self.description["input"]["kind"]
            if kind not in KINDS:
                raise ExportError(
                    f"this model's inputs are of the kind {kind!r}, which its dataset's plugin brought and `predict` "
                    f"cannot read from files. Load {folder / 'model'} with paddle.jit.load and feed it yourself."
                )
            self._input = from_description(self.description["input"])
            self._target = from_description(self.description["target"])
            digests = dict(self.description.get("sha256", {}))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{folder / 'model.yaml'} is damaged: {error}.") from error
        _check_files(folder, digests)
        paddle = import_paddle()
        try:
            self._model = paddle.jit.load(str(folder / "model"))
        except (OSError, RuntimeError, ValueError) as error:
            raise ExportError(f"{folder}: Paddle cannot load the exported model: {error}") from error
        self._model.eval()

    def files(self, files: Sequence[str]) -> list[FileAnswer]:
        """Answer for each file; one that cannot be read does not keep the others from being answered."""
        return [self._file(file) for file in files]

    def _file(self, file: str) -> FileAnswer:
        import paddle

        path = Path(file)
        if not path.is_file():
            reason = "it is a folder" if path.is_dir() else "there is no such file"
            return FileAnswer(file, (), reason)
        try:
            raw = self._input.read(path)
        except UnreadableInputError as error:
            return FileAnswer(file, (), str(error))
        with paddle.no_grad():
            outputs = self._model(paddle.to_tensor(self._input.normalise(raw))).numpy()
        return FileAnswer(file, self._target.decode(outputs))


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Hold the files against what was exported: of truncated weights, Paddle reads garbage without complaint."""
    for name, digest in digests.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ExportError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if found != digest:
            raise ExportError(f"{folder / name} is damaged: it is not the file that was exported.")
