"""What `predict` prints: a table for people, JSON or CSV for programs; each line as soon as it is known."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from expkit.inputs import STDIN, Sample
from expkit.predict import Answered
from expkit.preprocess import Classes
from expkit.scoring import Truth

TOP = 3
BLOCK = 256
_OWN = ("file", "row", "actual", "label", "probability")


class Writer(Protocol):
    """Takes the answers in turn."""

    def write(self, answered: Answered) -> None:
        """Write one answer, or keep it until others have come."""

    def close(self) -> None:
        """Write what was kept."""


class JsonWriter:
    """A line of JSON for each file; of a large table it is written piece by piece.

    Args:
        out: where to.
        truth: what tables say is true.
        top: most probabilities of an answer; None means all.
    """

    def __init__(self, out: IO[str], truth: Truth, top: int | None) -> None:
        self._out, self._truth, self._top = out, truth, top
        self._place, self._count = -1, 0
        self._error = ""

    def write(self, answered: Answered) -> None:
        """Write one answer."""
        sample = answered.sample
        if sample.place != self._place:
            self.close()
            self._place, self._count, self._error = sample.place, 0, ""
            self._out.write(f'{{"file": {json.dumps(sample.file)}, "answers": [')
        if sample.error:
            self._error = self._error or (sample.error if sample.row is None else f"row {sample.row}: {sample.error}")
        if answered.answer is not None:
            self._out.write(", " * (self._count > 0) + json.dumps(self._shown(answered, answered.answer)))
            self._count += 1

    def close(self) -> None:
        """End the line of the last file."""
        if self._place >= 0:
            self._out.write(f'], "error": {json.dumps(self._error)}}}\n')
            self._place = -1

    def _shown(self, answered: Answered, answer: Mapping[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {} if answered.sample.row is None else {"row": answered.sample.row}
        shown |= answer
        if self._top is not None and "probabilities" in shown:
            shown["probabilities"] = dict(best(answer, self._top))
        if self._truth.names and (answered.sample.row is not None or answered.sample.cells):
            shown["actual"] = self._truth.of(answered.sample.cells)
        return shown


class CsvWriter:
    """A line for each answer: file, row, the columns of the table, what is true, and what the model says.

    Args:
        out: where to.
        target: of the model.
        truth: what tables say is true.
        top: so many labels with their probabilities; None means the probability of each label.
        columns: of the tables.
    """

    def __init__(self, out: IO[str], target: Any, truth: Truth, top: int | None, columns: Sequence[str]) -> None:
        self._target, self._truth, self._top = target, truth, top
        self._kept = [name for name in columns if name not in truth.names]
        self._lines = csv.writer(out, lineterminator="\n")
        answers = self._answer_columns()
        taken = {*_OWN, *answers}
        kept = [f"input.{name}" if name in taken else name for name in self._kept]
        self._lines.writerow(["file", "row", *kept, *self._true_columns(), *answers])

    def write(self, answered: Answered) -> None:
        """Write one answer; what cannot be answered is said on stderr."""
        sample, answer = answered.sample, answered.answer
        if answer is None:
            sys.stderr.write(f"{_error(sample)}\n")
            return
        cells = [sample.cells.get(name, "") for name in self._kept]
        cells += [sample.cells.get(name, "") for name in self._truth.names]
        self._lines.writerow([sample.file, "" if sample.row is None else sample.row, *cells, *self._answer(answer)])

    def close(self) -> None:
        """Every line is written already."""

    def _true_columns(self) -> list[str]:
        single = isinstance(self._target, Classes) or len(self._target.names) == 1
        return ["actual" if single else f"actual({name})" for name in self._truth.names]

    def _answer_columns(self) -> list[str]:
        if not isinstance(self._target, Classes):
            return list(self._target.names)
        if self._top is None:
            return ["label", "probability", *(f"p({label})" for label in self._target.labels)]
        further = range(2, min(self._top, len(self._target.labels)) + 1)
        return ["label", "probability", *(f"{what}_{n}" for n in further for what in ("label", "probability"))]

    def _answer(self, answer: Mapping[str, Any]) -> list[Any]:
        if "values" in answer:
            return list(answer["values"].values())
        if self._top is None:
            return [answer["label"], answer["probability"], *answer["probabilities"].values()]
        return [part for pair in best(answer, self._top) for part in pair]


class TableWriter:
    """A table for people, no wider than the terminal; of many answers it comes block by block.

    Args:
        console: where to.
        target: of the model.
        truth: what tables say is true.
        top: labels that are shown, the answer included.
    """

    def __init__(self, console: Console, target: Any, truth: Truth, top: int | None) -> None:
        self._console, self._target, self._truth, self._top = console, target, truth, top or TOP
        self._kept: list[tuple[str, ...]] = []
        self._errors: list[str] = []
        self._names = self._columns()
        self._widths: list[int] = []

    def write(self, answered: Answered) -> None:
        """Keep an answer until a block is full."""
        sample, answer = answered.sample, answered.answer
        if answer is None:
            self._errors.append(_error(sample))
            return
        name = shown_name(sample)
        true = self._truth.of(sample.cells) if self._truth.names else None
        actual = ("" if true is None else _number(true),) if self._truth.names else ()
        self._kept.append((name, *actual, *self._cells(answer)))
        if len(self._kept) == BLOCK:
            self.close()

    def close(self) -> None:
        """Print the block, and below it what could not be answered."""
        if self._kept:
            first = not self._widths
            self._widths = self._widths or self._measured()
            table = Table(box=HEAVY_HEAD, show_header=first)
            for name, width in zip(self._names, self._widths, strict=True):
                table.add_column(name, width=width, overflow="fold")
            for row in self._kept:
                table.add_row(*map(Text, row))
            self._console.print(table)
        sys.stdout.flush()
        sys.stderr.write("".join(f"{error}\n" for error in self._errors))
        self._kept, self._errors = [], []

    def _columns(self) -> list[str]:
        actual = ["actual"] if self._truth.names else []
        if not isinstance(self._target, Classes):
            return ["file", *actual, "answer"]
        return ["file", *actual, "label", "probability", *(["next best"] if self._top > 1 else [])]

    def _cells(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        if "values" in answer:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in answer["values"].items())
            return (f"{shown} ({answer['unit']})" if answer["unit"] else shown,)
        further = ", ".join(f"{label} {share:.1%}" for label, share in best(answer, self._top)[1:])
        return (answer["label"], f"{answer['probability']:.1%}", *([further] if self._top > 1 else []))

    def _measured(self) -> list[int]:
        """Return the widths that the first rows need; the file gives way first, then the longest."""
        wanted = [max(map(cell_len, cells)) for cells in zip(self._names, *self._kept, strict=True)]
        room = max(self._console.width, 40) - 3 * len(wanted) - 1
        least = [min(width, 12) for width in wanted]
        while sum(wanted) > room and wanted != least:
            longest = max(range(len(wanted)), key=lambda n: wanted[n] - least[n])
            wanted[longest] = max(least[longest], wanted[longest] - max(1, sum(wanted) - room) // 2 - 1)
        return wanted


def best(answer: Mapping[str, Any], count: int) -> list[tuple[str, float]]:
    """Return the most probable labels of an answer, with their probabilities."""
    return sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:count]


def _error(sample: Sample) -> str:
    return f"error: {shown_name(sample)}: {sample.error}"


def shown_name(sample: Sample) -> str:
    """Return what a sample is called for people."""
    file = "stdin" if sample.file == STDIN else sample.file
    return file if sample.row is None else f"{file}, row {sample.row}"


def _number(true: Any) -> str:
    if isinstance(true, dict):
        return ", ".join(f"{name} {value:.4g}" for name, value in true.items())
    return true if isinstance(true, str) else f"{true:.4g}"
