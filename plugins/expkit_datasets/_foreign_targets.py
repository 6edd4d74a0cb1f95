"""Turns the targets of foreign samples into classes or values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataError
from expkit_datasets._foreign import NAME

TARGETS = ("auto", "classes", "values")


def labels_of(targets: Sequence[Any], target: str, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the classes of the training targets; None where they are values.

    Args:
        targets: texts, or arrays of one number or more.
        target: one of `TARGETS`.
        labels: as the user gave them, in order; empty to find them.

    Raises:
        ConfigError: they cannot be what the user says.
    """
    if isinstance(targets[0], str):
        return tuple(labels) or tuple(sorted(set(targets)))
    first = np.asarray(targets[0])
    one_hot = first.size > 1
    if target == "values" or (target == "auto" and not labels and (first.dtype.kind == "f" or one_hot)):
        return None
    if one_hot:
        return _named(labels, first.size)
    numbers = np.array([float(np.asarray(t).reshape(-1)[0]) for t in targets])
    if (numbers != np.rint(numbers)).any() or numbers.min() < 0 or numbers.max() > 1e6:
        raise ConfigError(
            f"dataset '{NAME}': targets from {numbers.min():g} to {numbers.max():g} are no numbers of classes, which "
            "count from 0. Set dataset.target=values."
        )
    return _named(labels, int(numbers.max()) + 1)


def _named(labels: Sequence[str], count: int) -> tuple[str, ...]:
    if labels and len(labels) < count:
        raise ConfigError(f"dataset.labels has {len(labels)} names, but there are {count} classes.")
    return tuple(labels) or tuple(map(str, range(count)))


def as_classes(targets: Sequence[Any], labels: Sequence[str], part: str) -> Array:
    """Return classes [N] int64.

    Raises:
        DataError: one is not among the labels.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    out = np.empty(len(targets), dtype=np.int64)
    for place, given in enumerate(targets):
        if isinstance(given, str):
            number = numbers.get(given, -1)
        else:
            value = np.asarray(given).reshape(-1)
            number = int(value.argmax() if value.size > 1 else value[0])
        if not 0 <= number < len(labels):
            raise DataError(
                f"dataset '{NAME}': sample {place} of {part} has the class {given!s}, which training has not. "
                f"Set dataset.labels to the names of all classes; there are {len(labels)}."
            )
        out[place] = number
    return out


def as_values(targets: Sequence[Any], part: str) -> Array:
    """Return values [N, K] float64.

    Raises:
        DataError: they differ in number, or one is not finite.
    """
    rows = [np.asarray(given, dtype=np.float64).reshape(-1) for given in targets]
    for place, row in enumerate(rows):
        if row.shape != rows[0].shape or not np.isfinite(row).all():
            raise DataError(
                f"dataset '{NAME}': the target of sample {place} of {part} is {row.tolist()}; expected "
                f"{rows[0].size} finite numbers."
            )
    return np.stack(rows)
