"""What users hand to a model (files, folders, arrays, standard input) as raw samples, or why there are none."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.errors import did_you_mean
from expkit.file_kinds import image_kind, kind_of, text_in
from expkit.found_files import counted, suffixes, within
from expkit.preprocess import MAX_PIXELS, ImageInput, TableInput, UnreadableInputError
from expkit.raw_arrays import UNIFORM, as_read, is_blank, shaped, why_unfit

STDIN = "-"
ARRAY = ".npy"
FOLDER = "folder"
"""What is known of an image that was found in a folder: the name of that folder."""
LOOKED_AT = 2000
"""Rows of a table by which it is seen what a column holds."""


@dataclass(frozen=True)
class Sample:
    """One sample, or why there is none.

    Attributes:
        file: as it was given, or as it was found in a folder.
        place: of the file among all, from 0.
        row: of a table or an array, from 1; None where the file is one sample.
        raw: as the reader of the model reads it, without the axis of the batch; None where there is an error.
        error: why it cannot be answered; empty when it can.
        cells: what a row of a table holds, by the name of the column; of an image that was found in a folder, `FOLDER`.
    """

    file: str
    place: int
    row: int | None = None
    raw: Array | None = None
    error: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)


class Inputs:
    """Files to answer for.

    Args:
        given: files, folders, and `STDIN`; a folder stands for the files in it that the model can take.
        reader: of the model's inputs.

    Attributes:
        files: in the order in which they were given, those of a folder sorted.
        notes: a line for each folder in which files were left out.
        folders: names of the folders in which images were found; those of files that are given by name do not count.
    """

    def __init__(self, given: Sequence[str], reader: Any) -> None:
        self.files: list[str] = []
        self.notes: list[str] = []
        self.folders: set[str] = set()
        self._reader = reader
        self._errors: dict[str, str] = {}
        self._found: set[str] = set()
        for one in given:
            if one != STDIN and Path(one).is_dir():
                self._add_folder(one)
            else:
                self.files.append(one)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples of all files; of one that cannot be read, one that says why."""
        for place, file in enumerate(self.files):
            if file in self._errors:
                yield Sample(file, place, error=self._errors[file])
            else:
                yield from self._of_file(file, place)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns of all tables, in the order in which they first appear; empty for images."""
        names: dict[str, None] = {}
        if isinstance(self._reader, TableInput):
            for file in self.files:
                names.update(dict.fromkeys(_columns(file, self._reader)))
        return list(names)

    def columns_within(self, columns: Sequence[str], words: Collection[str]) -> list[str]:
        """Return those of some columns of the tables that hold nothing but these words, as far as a look shows."""
        seen: dict[str, set[str]] = {name: set() for name in columns}
        for file in self.files:
            with contextlib.suppress(OSError, UnicodeDecodeError, csv.Error, UnreadableInputError):
                rows = islice(_table_rows(file), LOOKED_AT)
                head = next(rows, [])
                for row in rows if _is_header(head) else ():
                    for name, cell in zip(head, row, strict=False):
                        seen.get(name, set()).add(cell)
        return [name for name, cells in seen.items() if cells - {""} and cells - {""} <= set(words)]

    def _add_folder(self, folder: str) -> None:
        what = "CSV files" if isinstance(self._reader, TableInput) else "images"
        found, left, closed = within(Path(folder), suffixes(self._reader))
        self.files += found
        self._found.update(found)
        self.folders.update(Path(file).absolute().parent.name for file in found)
        for path, reason in closed.items():
            self._errors[path] = f"this folder cannot be read: {reason}"
            self.files.append(path)
        if not found and not closed:
            self._errors[folder] = f"there are no {what} in this folder{counted(', only ', left)}"
            self.files.append(folder)
        elif left:
            self.notes.append(f"{folder}: {len(found):,} {what}; left out for their names: {counted('', left)}")

    def _of_file(self, file: str, place: int) -> Iterator[Sample]:
        reader = self._reader
        try:
            if file != STDIN and Path(file).suffix.lower() == ARRAY:
                yield from _of_array(file, place, reader)
            elif isinstance(reader, TableInput):
                yield from _of_table(file, place, reader)
            elif isinstance(reader, ImageInput):
                raw = _image(content_of(file), reader)
                blank = is_blank(raw, reader)
                held = {FOLDER: Path(file).absolute().parent.name} if file in self._found else {}
                yield Sample(file, place, None, None if blank else raw, UNIFORM if blank else "", held)
            else:  # a plugin's own reader, which takes the names of files
                if file == STDIN:
                    raise UnreadableInputError("this model's inputs cannot be read from standard input; name a file")
                rows = _of_plugin(file, reader)
                for number, raw in enumerate(rows, 1):
                    yield Sample(file, place, number if len(rows) > 1 else None, raw)
        except UnreadableInputError as error:
            yield Sample(file, place, error=str(error))


def _of_plugin(file: str, reader: Any) -> Array:
    content_of(file)  # says what is the matter with the file, if anything is
    try:
        rows: Array = reader.read(file)
    except UnreadableInputError:
        raise
    except Exception as error:  # a plugin may raise anything, and the other files are to be answered
        raise UnreadableInputError(f"its reader failed: {type(error).__name__}: {error}") from error
    return rows


def _image(content: bytes, reader: ImageInput) -> Array:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # where it matters, it is an error, too
        try:
            raw: Array = reader.read(io.BytesIO(content))[0]
        except UnreadableInputError as error:
            raise UnreadableInputError(_why_no_image(content, str(error))) from error
    return raw


def _why_no_image(content: bytes, reason: str) -> str:
    """Say why bytes are no image, better than Pillow, which knows a file by a number in memory only."""
    if "decompression bomb" in reason:
        return f"it would unpack to gigabytes; an image may have {MAX_PIXELS:,} pixels"
    if "pixels;" in reason:
        return reason
    if "cannot identify" not in reason and (kind := image_kind(content)):
        return reason.replace("not a readable image", f"a {kind} image that is cut off or damaged")
    what = kind_of(content)
    if not what:
        text = text_in(content)
        what = f"it is text ({text!r}), and this model takes images" if text else "no format that Pillow knows"
    return f"not a readable image: {what}"


def _of_table(file: str, place: int, reader: TableInput) -> Iterator[Sample]:
    content = content_of(file)
    if kind := image_kind(content):
        raise UnreadableInputError(f"it is a {kind} image; this model takes rows of numbers, a CSV file")
    if other := kind_of(content):
        raise UnreadableInputError(f"not a readable CSV file: {other}")
    try:
        raw = reader.read(io.BytesIO(content))
    except UnreadableInputError as error:
        said = f"{error}{_separator_hint(content, reader)}"
        if isinstance(error.__cause__, UnicodeDecodeError):
            said = "not a readable CSV file: it is not text in UTF-8; save it as such (in Excel: CSV UTF-8)"
        raise UnreadableInputError(said) from error
    rows = _rows(content.decode("utf-8-sig"))
    first = next(rows)
    names = first if _is_header(first) else reader.columns
    below = rows if _is_header(first) else chain([first], rows)
    for number, (values, cells) in enumerate(zip(raw, below, strict=True), 1):
        yield Sample(file, place, number, values, cells=dict(zip(names, cells, strict=True)))


def _of_array(file: str, place: int, reader: Any) -> Iterator[Sample]:
    _check_file(file)
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableInputError(f"not a readable {ARRAY} file ({error})") from error
    array = shaped(array, reader)
    if not len(array):
        raise UnreadableInputError("the array holds no samples")
    for number in range(len(array)):
        sample = array[number : number + 1]
        problem = why_unfit(sample, reader) or (UNIFORM if is_blank(sample, reader) else "")
        yield Sample(file, place, number + 1, None if problem else as_read(sample, reader)[0], problem)


def _columns(file: str, reader: TableInput) -> Sequence[str]:
    """Return the names of the columns of a table from its first row; that it cannot be read is said later."""
    try:
        head = next(_table_rows(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()
    if not _is_header(head):
        return reader.columns
    return head if set(reader.columns) <= set(head) else ()


def _table_rows(file: str) -> Iterator[list[str]]:
    """Yield the rows of a CSV file; of an array none."""
    if file == STDIN:
        yield from _rows(_stdin().decode("utf-8-sig"))
    elif Path(file).suffix.lower() != ARRAY and Path(file).is_file():
        with Path(file).open(encoding="utf-8-sig", newline="") as opened:
            yield from _rows_of(opened)


def _is_header(cells: Sequence[str]) -> bool:
    """Say whether the first row of a table names its columns, as `TableInput.read` sees it: not all are numbers."""
    try:
        return not [float(cell) for cell in cells]
    except ValueError:
        return True


def _rows(text: str) -> Iterator[list[str]]:
    return _rows_of(io.StringIO(text, newline=""))


def _rows_of(lines: Any) -> Iterator[list[str]]:
    """Yield the rows of a CSV file as `TableInput.read` sees them: without empty ones and outer spaces."""
    for row in csv.reader(lines):
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield cells


def _separator_hint(content: bytes, reader: TableInput) -> str:
    """Say that another separator than the comma was used, where all is well with it."""
    try:
        first = content.decode("utf-8-sig").lstrip().splitlines()[0]
    except (UnicodeDecodeError, IndexError):
        return ""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        cells = [cell.strip() for cell in first.split(separator)]
        if len(cells) >= len(reader.columns) > 1 or set(reader.columns) <= set(cells) != {first.strip()}:
            return f". Its values are separated by {name}; write commas"
    return ""


def content_of(file: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        UnreadableInputError: there is none, or it cannot be read.
    """
    if file == STDIN:
        content = _stdin()
    else:
        _check_file(file)
        try:
            content = Path(file).read_bytes()
        except OSError as error:
            raise UnreadableInputError(f"it cannot be read: {error.strerror or error}") from error
    if not content:
        raise UnreadableInputError("nothing came from standard input" if file == STDIN else "the file is empty")
    return content


def _check_file(file: str) -> None:
    path = Path(file)
    try:
        if path.is_file():
            return
        exists = path.exists()
    except (OSError, ValueError) as error:  # ValueError: a NUL character, which no path has
        raise UnreadableInputError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if exists:
        raise UnreadableInputError("it is no regular file; for a stream use standard input: -")
    if path.is_symlink():
        raise UnreadableInputError(f"there is no such file: the link leads to {path.readlink()}, which is not there")
    if any(sign in file for sign in "*?["):
        raise UnreadableInputError(
            "there is no such file, and `predict` expands no patterns: your shell does, where something fits and no "
            "quotes keep it from that. Or name the folder"
        )
    there = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UnreadableInputError(
        f"there is no such file{'.' if there else ''}{did_you_mean(path.name, there)}".rstrip(".")
    )


def _stdin() -> bytes:
    """Return standard input, which can be read once, whenever it is asked for."""
    return _all_of(sys.stdin)


@lru_cache(maxsize=1)
def _all_of(stream: Any) -> bytes:
    buffer = getattr(stream, "buffer", None)
    return buffer.read() if buffer is not None else b""
