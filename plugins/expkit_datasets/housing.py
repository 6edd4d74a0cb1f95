"""Boston housing: 506 districts of 1970, thirteen features and the median price (Harrison and Rubinfeld 1978)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from expkit.api import Array, ConfigError, Data, DataError, DataSource, Values
from expkit_datasets import diabetes
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets.idx import REMEDY
from expkit_datasets.sources import Place, RemoteFile, UnavailableError, download, locate, names_in
from expkit_datasets.tables import Rows, check_numbers, table_data, values

NAME = "housing"
FOLDER = "uci_housing"
COLUMNS = ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT")
TARGET = "MEDV"
UNIT = "1000 dollars"
FILE = RemoteFile("housing.data", 49_082, "d4accdce7a25600298819f8e28e8d593")
CONTENT_MD5 = "135bba090c9f66605e87385155813dc0"
"""Of the official numbers as little-endian float64, however they are spaced."""
ROWS = 506
MIRRORS = (
    "http://paddlemodels.bj.bcebos.com/uci_housing/",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/housing/",
)


def housing(
    *,
    root: str | None = None,
    on_missing: str = "stand-in",
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    train_share: float = 0.8,
    valid: int = 80,
    normalise: str = "min_max",
    precision: str = "float32",
    limit: int | None = None,
) -> Data:
    """Boston housing: 506 districts, thirteen features each, and the median price of a house in 1,000 dollars.

    The file is `housing.data`, 506 lines of 14 numbers. Its places, in this order: `root`,
    `$EXPKIT_DATA_DIR/uci_housing`, the user's cache, a download into the cache, the stand-in. Splits are cut in the
    file's order, as in the textbook; inputs and price are normalised with what is learned on the training rows alone.
    The set is kept for its place in textbooks: its column B was derived from the share of Black residents, so that
    nothing built on it belongs into use.

    Args:
        root: folder that holds the file; null searches $EXPKIT_DATA_DIR, the cache and the net.
        on_missing: without the file, "stand-in" goes on with scikit-learn's diabetes table, "error" stops.
        download: whether the file may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means the well-known public mirrors.
        check: accept only the official numbers; false takes any rows of 14 numbers.
        train_share: share of the rows, from the start, for training and validation; the rest is for test.
        valid: how many of those, from their end, are for validation; with 0 the training rows serve for it, too.
        normalise: (x - a) / b by column: "min_max" (minimum, range), "mean" (mean, range), "standard" (mean, standard
            deviation), or "none".
        precision: what inputs and prices are computed in, "float32" or "float64" (for learners in NumPy).
        limit: keep only the first rows of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: the file is missing, damaged or foreign, or there is none and `on_missing` is "error".
    """
    check_choice(NAME, "on_missing", on_missing, ("stand-in", "error"))
    check_numbers(NAME, normalise, precision)
    check_limit(NAME, limit)
    chosen = MIRRORS if mirrors is None else tuple(mirrors)
    finish = partial(_data, train_share=train_share, valid=valid, normalise=normalise, precision=precision, limit=limit)
    try:
        place = locate(
            FOLDER,
            root=root,
            complete=lambda folder: (folder / FILE.name).is_file(),
            fetch=(lambda folder: _download(folder, chosen)) if download else None,
        )
    except UnavailableError as error:
        source, name = _without_file(str(error), on_missing), f"diabetes (stand-in for {NAME})"
        target = values([diabetes.TARGET], diabetes.UNIT)
        return finish(name, source, diabetes.rows(), diabetes.COLUMNS, target)
    rows = _read(place)
    name = NAME if _is_official(rows, place, strict=check) else f"{NAME} (unofficial file)"
    return finish(name, place.source, rows, COLUMNS, values([TARGET], UNIT))


def _data(
    name: str,
    source: DataSource,
    rows: Array,
    columns: Sequence[str],
    target: Values,
    *,
    train_share: float,
    valid: int,
    normalise: str,
    precision: str,
    limit: int | None,
) -> Data:
    splits = _cut(rows, train_share, valid)
    return table_data(
        name,
        source,
        columns=columns,
        target=target,
        splits=splits,
        normalise=normalise,
        precision=precision,
        limit=limit,
    )


def _without_file(reason: str, on_missing: str) -> DataSource:
    if on_missing == "error":
        raise DataError(
            f"dataset '{NAME}': no file: {reason}. Set dataset.root or EXPKIT_DATA_DIR, "
            "or dataset.on_missing=stand-in to train on scikit-learn's diabetes table."
        )
    return DataSource("stand-in", diabetes.LOCATION, stand_in_for=NAME, note=reason)


def _cut(rows: Array, train_share: float, valid: int) -> list[Rows]:
    """Cut rows [N, F + 1] into train, valid and test in their order; where valid is 0, it is what train is."""
    first = int(len(rows) * train_share) if math.isfinite(train_share) else 0
    if not 1 <= first < len(rows):
        raise ConfigError(
            f"dataset '{NAME}': train_share is {train_share:g}; expected a share between 0 and 1 that leaves rows for "
            f"training and for test, of {len(rows)}. Set dataset.train_share."
        )
    if not 0 <= valid < first:
        raise ConfigError(
            f"dataset '{NAME}': valid is {valid}; expected 0 to {first - 1}, as there are {first} training rows. "
            "Set dataset.valid."
        )
    end = first - valid
    parts = rows[:end], rows[end:first] if valid else rows[:end], rows[first:]
    return [(np.ascontiguousarray(part[:, :-1]), np.ascontiguousarray(part[:, -1:])) for part in parts]


def _download(folder: Path, mirrors: tuple[str, ...]) -> str:
    return download([FILE], [m if m.endswith("/") else f"{m}/" for m in mirrors], folder, dataset=NAME)


def _read(place: Place) -> Array:
    """Read `housing.data` as [N, 14] float64.

    Raises:
        DataError: it is not there, cannot be read, or is not a table of 14 numbers a line.
    """
    folder = place.folder
    names = names_in(folder, dataset=NAME)
    path = folder / FILE.name
    if FILE.name not in names:
        inner = next((n for n in (FOLDER, NAME) if (folder / n / FILE.name).is_file()), "")
        remedy = f"Did you mean dataset.root={folder / inner}?" if inner else "Put it there, or set dataset.root."
        held = ", ".join(sorted(names)[:5]) or "nothing"
        raise DataError(f"dataset '{NAME}': {folder} holds no {FILE.name}; it holds {held}. {remedy}")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        rows = [_numbers(line, number) for number, line in enumerate(lines, 1) if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"dataset '{NAME}': {path} is not a text of numbers ({error.reason}). {REMEDY}") from error
    except ValueError as error:
        raise DataError(f"dataset '{NAME}': {path}, {error}. {REMEDY}") from None
    except OSError as error:
        raise DataError(f"dataset '{NAME}': {path} cannot be read ({error.strerror}). Set dataset.root.") from error
    if not rows:
        raise DataError(f"dataset '{NAME}': {path} is empty. {REMEDY}")
    return np.array(rows, dtype=np.float64)


def _numbers(line: str, number: int) -> list[float]:
    cells = line.split()
    found = []
    for cell in cells:
        try:
            found.append(float(cell))
        except ValueError:
            found.append(math.nan)
        if not math.isfinite(found[-1]):
            raise ValueError(f"line {number}: {cell[:40]!r} is not a finite number")
    if len(found) != len(COLUMNS) + 1:
        raise ValueError(f"line {number} has {len(found)} numbers; expected {len(COLUMNS) + 1}")
    return found


def _is_official(rows: Array, place: Place, *, strict: bool) -> bool:
    found = hashlib.md5(rows.astype("<f8").tobytes(), usedforsecurity=False).hexdigest()
    if strict and found != CONTENT_MD5:
        what = (
            f"it has {len(rows)} of {ROWS} rows"
            if len(rows) != ROWS
            else f"its numbers have md5 {found}, expected {CONTENT_MD5}"
        )
        raise DataError(
            f"dataset '{NAME}': {place.folder / FILE.name} is not the official file: {what}. Delete it and run again, "
            "set dataset.root, or accept it with dataset.check=false."
        )
    return found == CONTENT_MD5
