"""Any table in a CSV file: columns of numbers, and a target of classes or of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from expkit.api import Array, Classes, ConfigError, Data, DataError, DataSource, Values
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets.csv_file import MISSING, CsvFile, read_csv
from expkit_datasets.splits import cut
from expkit_datasets.tables import Rows, check_numbers, table_data, values

NAME = "csv"


def csv_table(
    *,
    path: str,
    target: list[str],
    valid_path: str | None = None,
    test_path: str | None = None,
    columns: list[str] | None = None,
    task: str = "auto",
    separator: str = ",",
    valid: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    missing: str = "error",
    normalise: str = "standard",
    precision: str = "float32",
    limit: int | None = None,
) -> Data:
    """A table of your own: a CSV file with a header, columns of numbers, and one or more columns to predict.

    Inputs are numbers. Columns of words have to be written as numbers in the file (0 and 1; or one column of 0 and 1
    for each word), since `predict` reads rows as they were in training. All that is learned from the file, for
    normalisation and for missing cells, is learned on the training rows alone.

    Args:
        path: the file; all of it, or the training rows where the others have files of their own.
        target: names of the columns to predict, [species] or [price,rent].
        valid_path: file with the validation rows; null takes `valid` of the training file for them.
        test_path: file with the test rows; null takes `test` of the training file for them.
        columns: names of the input columns; null takes all but the targets and those without a name.
        task: "classes", "values", or "auto": words are classes, numbers (0, 1, 2, too) are values.
        separator: character between cells, such as ";" or a tab; `predict` reads commas in any case.
        valid: share (below 1) or number of rows for validation.
        test: share (below 1) or number of rows for test.
        split_seed: which rows these are; the same seed takes the same ones, of each class alike.
        missing: cells that are empty, NA, NaN or null: "error", "drop" (the row), or "mean" (of the training rows).
        normalise: (x - a) / b by column, values to predict, too: "standard" (mean, standard deviation), "min_max"
            (minimum, range), "mean" (mean, range), or "none".
        precision: what inputs and values are computed in, "float32" or "float64" (for learners in NumPy).
        limit: keep only the first rows of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used, or names a column that is not there.
        DataError: a file is missing, damaged, or holds what is no number where one is needed.
    """
    check_choice(NAME, "task", task, ("auto", "classes", "values"))
    check_choice(NAME, "missing", missing, ("error", "drop", "mean"))
    check_numbers(NAME, normalise, precision)
    check_limit(NAME, limit)
    files = _files({"train": path, "valid": valid_path, "test": test_path}, separator)
    chosen = _columns(files["train"], columns, target)
    goal = _goal(files["train"], target, task)
    rows = {part: _rows(file, chosen, target, goal, missing) for part, file in files.items()}
    splits = _splits(rows, goal, {"valid": valid, "test": test}, split_seed)
    return table_data(
        Path(path).name,
        DataSource("file", ", ".join(str(file.path) for file in files.values())),
        columns=chosen,
        target=goal,
        splits=_filled(splits, chosen),
        normalise=normalise,
        precision=precision,
        limit=limit,
    )


def _files(paths: Mapping[str, str | None], separator: str) -> dict[str, CsvFile]:
    if len(separator.replace("\\t", "\t")) != 1:
        raise ConfigError(
            f"dataset '{NAME}': separator is {separator!r}; expected one character. Set dataset.separator."
        )
    return {
        part: read_csv(file, separator, option="dataset.path" if part == "train" else f"dataset.{part}_path")
        for part, file in paths.items()
        if file is not None
    }


def _columns(file: CsvFile, columns: list[str] | None, target: list[str]) -> list[str]:
    """Return the names of the inputs, once all names are known to be there."""
    if not target or len(set(target)) != len(target):
        raise ConfigError(
            f"dataset '{NAME}': target is {target}; expected names of columns. Set dataset.target=[NAME]."
        )
    chosen = [name for name in file.cells if name not in target] if columns is None else columns
    both = [name for name in chosen if name in target]
    if not chosen or both or len(set(chosen)) != len(chosen):
        problem = f"{both[0]!r} is a target, too" if both else "expected different names of columns"
        raise ConfigError(f"dataset '{NAME}': columns is {chosen}; {problem}. Set dataset.columns.")
    for option, names in (("target", target), ("columns", chosen)):
        _check_names(file, names, f"Set dataset.{option}.")
    return chosen


def _check_names(file: CsvFile, names: Sequence[str], remedy: str) -> None:
    gone = [name for name in names if name not in file.cells]
    if gone:
        there = ", ".join(list(file.cells)[:20])
        raise ConfigError(f"dataset '{NAME}': {file.path} has no column {gone[0]!r}; it has {there}. {remedy}")


def _goal(file: CsvFile, target: list[str], task: str) -> Classes | Values:
    """Tell classes from values, by what the training file holds."""
    held = {name: [cell for cell in file.cells[name].tolist() if cell not in MISSING] for name in target}
    if task == "auto" and len(target) == 1:
        numbers = sum(map(_is_number, held[target[0]]))
        if 0 < numbers < len(held[target[0]]):
            raise DataError(
                f"dataset '{NAME}': {file.path}, column {target[0]} holds {numbers:,} numbers and "
                f"{len(held[target[0]]) - numbers:,} words. Mend it, or set dataset.task=classes."
            )
        task = "values" if numbers else "classes"
    if task != "classes":
        return values(target)
    if len(target) > 1:
        raise ConfigError(f"dataset '{NAME}': task=classes takes one target, not {len(target)}. Set dataset.target.")
    [words] = held.values()
    labels = sorted(set(words), key=lambda word: (float(word), word) if all(map(_is_number, words)) else (0.0, word))
    if not 2 <= len(labels) <= max(2, len(words) // 2):
        raise DataError(
            f"dataset '{NAME}': {file.path}, column {target[0]} holds {len(labels)} different words in {len(words)} "
            "rows; classes are at least 2, and have 2 rows each on average. Set dataset.target, or dataset.task=values."
        )
    return Classes(tuple(labels))


def _rows(file: CsvFile, columns: Sequence[str], target: Sequence[str], goal: Classes | Values, missing: str) -> Rows:
    """Return inputs, with NaN for what is missing if it is to be filled later, and targets."""
    _check_names(file, [*columns, *target], "All files need the same columns.")
    inputs = file.numbers(columns)
    targets = _classes(file, target[0], goal) if isinstance(goal, Classes) else file.numbers(target)
    without = np.isnan(inputs)
    no_target = (targets < 0) if isinstance(goal, Classes) else np.isnan(targets).any(axis=1)
    if missing == "drop":
        whole = ~(without.any(axis=1) | no_target)
        inputs, targets = inputs[whole], targets[whole]
        if not len(inputs):
            raise DataError(f"dataset '{NAME}': {file.path} has no row without a missing cell, so none is left.")
    elif no_target.any():
        row = int(no_target.argmax())
        column = next(name for name in target if file.cells[name][row] in MISSING)
        raise DataError(_missing_text(file, row, column, int(no_target.sum()), "dataset.missing=drop"))
    elif without.any() and missing == "error":
        row, number = np.argwhere(without)[0].tolist()
        remedy = "dataset.missing=drop (the rows) or mean (of the column)"
        raise DataError(_missing_text(file, row, columns[number], int(without.sum()), remedy))
    return inputs, targets


def _missing_text(file: CsvFile, row: int, column: str, count: int, remedy: str) -> str:
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    return f"dataset '{NAME}': {file.at(row, column)} holds nothing{more}. Mend it, or set {remedy}."


def _classes(file: CsvFile, column: str, goal: Classes) -> Array:
    """Return the class of each row as [N] int64, -1 where the cell holds nothing."""
    number = {word: i for i, word in enumerate(goal.labels)} | dict.fromkeys(MISSING, -1)
    cells = file.cells[column].tolist()
    for row, word in enumerate(cells):
        if word not in number:
            raise DataError(
                f"dataset '{NAME}': {file.at(row, column)} is {word!r}, which is no class of the training file: "
                f"{', '.join(goal.labels[:20])}."
            )
    return np.array([number[word] for word in cells], dtype=np.int64)


def _splits(rows: dict[str, Rows], goal: Classes | Values, shares: dict[str, float], seed: int) -> list[Rows]:
    inputs, targets = rows["train"]
    labels = goal.labels if isinstance(goal, Classes) else ()
    classes = targets if labels else np.zeros(len(inputs), dtype=np.int64)
    wanted = {part: share for part, share in shares.items() if part not in rows}
    chosen = cut(NAME, classes, labels, wanted, seed)
    return [
        (inputs[chosen[part]], targets[chosen[part]]) if part in chosen else rows[part]
        for part in ("train", "valid", "test")
    ]


def _filled(splits: list[Rows], columns: Sequence[str]) -> list[Rows]:
    """Put the mean of the training rows where an input is missing."""
    train = splits[0][0]
    there = ~np.isnan(train)
    empty = np.flatnonzero(~there.any(axis=0))
    if len(empty):
        raise DataError(
            f"dataset '{NAME}': column {columns[int(empty[0])]} holds nothing in all training rows, so that it has no "
            "mean. Leave it out with dataset.columns=[...]."
        )
    mean = np.where(there, train, 0.0).sum(axis=0) / there.sum(axis=0)
    return [(np.where(np.isnan(x), mean, x), y) for x, y in splits]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
