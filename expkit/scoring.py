"""Answers held against what a table, or the folder of an image, says is true."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from expkit.errors import ConfigError, did_you_mean
from expkit.inputs import FOLDER, Inputs
from expkit.predict import Answered
from expkit.preprocess import Classes, ImageInput, TableInput, Values

_USUAL = ("label", "target", "class", "actual", "y")
"""What a column with classes is called, where several could be one."""


class Truth:
    """The columns of tables that hold what the model is to answer, and how far its answers are from that.

    Args:
        names: of the columns; the names of values, or the one with the classes.
        target: of the model.

    Attributes:
        names: as above.
    """

    def __init__(self, names: Sequence[str], target: Any) -> None:
        self.names = tuple(names)
        self._target = target
        self._rows = 0
        self._right = 0
        self._errors: dict[str, list[float]] = {name: [0.0, 0.0, 0] for name in names}

    def of(self, cells: Mapping[str, str]) -> Any:
        """Return what is true of a row: a label, a number, numbers by name; None where the table does not say."""
        if isinstance(self._target, Classes):
            return cells.get(self.names[0]) or None if self.names else None
        found = {name: number for name in self.names if (number := _number(cells.get(name, ""))) is not None}
        if len(self._target.names) > 1:
            return found or None
        return next(iter(found.values()), None)

    def add(self, answered: Answered) -> None:
        """Count an answer."""
        true = self.of(answered.sample.cells)
        if answered.answer is None or true is None:
            return
        self._rows += 1
        if isinstance(self._target, Classes):
            self._right += answered.answer["label"] == true
            return
        for name, value in (true if isinstance(true, dict) else {self.names[0]: true}).items():
            off = answered.answer["values"][name] - value
            sums = self._errors[name]
            sums[0], sums[1], sums[2] = sums[0] + abs(off), sums[1] + off * off, sums[2] + 1

    def said(self) -> str:
        """Return the accuracy, or the mean errors, in one line; empty where nothing was counted."""
        if not self._rows:
            return ""
        rows = f"{self._rows:,} row{'s' * (self._rows > 1)}"
        if isinstance(self._target, Classes):
            rows = f"{rows} with {self.names[0]}"
            if self.names == (FOLDER,):
                rows = f"{self._rows:,} images, by the names of their folders"
            return f"accuracy {self._right / self._rows:.4f} ({self._right:,} of {rows})"
        unit = f" ({self._target.unit})" if self._target.unit else ""
        parts = [
            f"{name}{unit}: MAE {total / count:.4g}, RMSE {math.sqrt(squares / count):.4g}"
            for name, (total, squares, count) in self._errors.items()
            if count
        ]
        return f"{'; '.join(parts)} ({rows})"


def truth_in(inputs: Inputs, reader: Any, target: Any, wanted: str | None = None) -> Truth:
    """Find what says what the model is to answer: columns of tables, or the folders of images.

    Args:
        inputs: tables, or images.
        reader: of the model's inputs.
        target: of the model.
        wanted: name of the column; by default that of the values, or the one that holds nothing but the labels.

    Raises:
        ConfigError: there is no column of this name, or it cannot hold the truth of this model.
    """
    further = [name for name in inputs.columns if name not in reader.columns] if isinstance(reader, TableInput) else []
    if wanted is not None:
        if wanted not in further:
            there = f"the further columns are {', '.join(further)}" if further else "there is none beside the inputs"
            raise ConfigError(f"--actual {wanted}: no such column;{did_you_mean(wanted, further)} {there}.")
        if isinstance(target, Values) and wanted not in target.names:
            raise ConfigError(f"--actual {wanted}: this model predicts {', '.join(target.names)}.")
        return Truth([wanted], target)
    if isinstance(reader, ImageInput) and isinstance(target, Classes):  # as data sets of images are laid out
        return Truth([FOLDER] if len(inputs.folders) > 1 and inputs.folders <= set(target.labels) else [], target)
    if isinstance(target, Values):
        return Truth([name for name in target.names if name in further], target)
    fitting = inputs.columns_within(further, set(target.labels)) if further else []
    usual = [name for name in fitting if name.lower() in _USUAL]
    return Truth(fitting if len(fitting) == 1 else usual[:1], target)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
