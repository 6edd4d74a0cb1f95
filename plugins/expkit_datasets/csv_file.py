"""Reads CSV files for `csv_table`: cells as they are written, then numbers, each mistake named by row and column."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expkit.api import Array, DataError

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Cells that hold nothing."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with a header.

    Attributes:
        path: of the file.
        cells: text of the cells [N] below each name of the header, without spaces around it.
    """

    path: Path
    cells: dict[str, Array]

    def __len__(self) -> int:
        """Number of rows below the header."""
        return len(next(iter(self.cells.values())))

    def numbers(self, columns: Sequence[str]) -> Array:
        """Return columns as [N, F] float64, NaN where a cell holds nothing.

        Raises:
            DataError: a cell is not a finite number.
        """
        out = np.empty((len(self), len(columns)))
        for number, column in enumerate(columns):
            out[:, number] = self._column(column)
        return out

    def _column(self, column: str) -> Array:
        cells = self.cells[column]
        try:
            values = cells.astype(np.float64)
        except ValueError:
            values = np.array([_number(cell) for cell in cells.tolist()])
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            if cells[row] not in MISSING:
                raise DataError(
                    f"dataset 'csv': {self.at(row, column)} is {cells[row]!r}, which is not a finite number. Mend it, "
                    "write words as numbers, or choose other columns with dataset.columns and dataset.target."
                )
        return values

    def at(self, row: int, column: str) -> str:
        """Say where a cell is; rows are told as counted from 1 below the header."""
        return f"{self.path}, row {row + 1} below the header, column {column}"


def read_csv(path: str, separator: str, *, option: str) -> CsvFile:
    r"""Read a CSV file whose first line names its columns; columns without a name are left out.

    Args:
        path: of the file.
        separator: the character between cells; "\t" written as two characters is a tab, too.
        option: what the user set the path with, for errors.

    Raises:
        DataError: it cannot be read, has no header, has a name twice, or has a row that is too long.
    """
    import pandas as pd

    file = Path(path).expanduser()
    mark = separator.replace("\\t", "\t")
    try:
        names = _header(file, mark)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut
            frame = pd.read_csv(
                file, sep=mark, header=0, names=names, index_col=False, dtype=str, na_filter=False, encoding="utf-8-sig"
            )
    except OSError as error:
        raise DataError(f"dataset 'csv': {file} cannot be read ({error.strerror}). Set {option}.") from error
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8 ({error.reason} at byte {error.start:,})"
        raise DataError(f"dataset 'csv': {file} {problem}. Save it as CSV in UTF-8.") from error
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:
        raise DataError(f"dataset 'csv': {file} {_problem(error)}. Mend it, or set dataset.separator.") from error
    if frame.empty:
        raise DataError(f"dataset 'csv': {file} has no row below its header.")
    columns = {name: np.array([cell.strip() for cell in frame[name]], dtype=object) for name in names if name.strip()}
    return CsvFile(file, columns)


def _header(file: Path, mark: str) -> list[str]:
    """Return the names of all columns; those without one get spaces, each another number of them."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        cells = next((row for row in csv.reader(lines, delimiter=mark) if any(map(str.strip, row))), [])
    names = [cell.strip() for cell in cells]
    given = [name for name in names if name]
    if not given:
        raise ValueError("is empty")
    if all(not math.isnan(_number(name)) for name in given):
        raise ValueError(f"has no header: its first line is {', '.join(given[:4])}; write the columns' names above it")
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise ValueError(f"has more than one column {twice[0]!r}")
    return [name or " " * (number + 1) for number, name in enumerate(names)]


def _problem(error: Exception) -> str:
    if isinstance(error, Warning):
        return "has rows with more cells than its header"
    text = str(error)
    return f"is not a table ({text.rpartition('C error: ')[2].strip()})" if "C error" in text else text


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
