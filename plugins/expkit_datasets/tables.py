"""Turns rows of numbers into `Data`: limit, normalisation learned on the training split, precision, fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expkit.api import Array, ArraySplit, Classes, Data, DataSource, DataSpec, TableInput, Values
from expkit_datasets._checks import check_choice
from expkit_datasets.images import fingerprint

Rows = tuple[Array, Array]
"""Inputs [N, F] float64, and raw targets: values [N, K] float64 or classes [N] int64."""

NORMALISATIONS = ("min_max", "mean", "standard", "none")
PRECISIONS = ("float32", "float64")


def check_numbers(dataset: str, normalise: str, precision: str) -> None:
    """Refuse words that say neither how to normalise a table nor what to compute it in.

    Raises:
        ConfigError: one of them is unknown.
    """
    check_choice(dataset, "normalise", normalise, NORMALISATIONS)
    check_choice(dataset, "precision", precision, PRECISIONS)


def values(names: Sequence[str], unit: str = "") -> Values:
    """Return a target whose mean and scale are still to be learned."""
    return Values(tuple(names), (0.0,) * len(names), (1.0,) * len(names), unit)


def table_data(
    name: str,
    source: DataSource,
    *,
    columns: Sequence[str],
    target: Classes | Values,
    splits: Sequence[Rows],
    normalise: str,
    precision: str,
    limit: int | None = None,
) -> Data:
    """Make `Data` of a table.

    Args:
        name: the data's true name.
        source: where the data came from.
        columns: names of the F inputs.
        target: classes, or values whose mean and scale are learned here as those of the inputs are.
        splits: rows of train, valid and test; all that is learned is learned on those of train.
        normalise: one of `NORMALISATIONS`, see `statistics`.
        precision: one of `PRECISIONS`.
        limit: keep the first `limit` rows of train and a fifth as many of valid and test; None keeps all.
    """
    part = None if limit is None else max(1, limit // 5)
    kept = [ArraySplit(x[:keep], y[:keep]) for (x, y), keep in zip(splits, (limit, part, part), strict=True)]
    digest = fingerprint(kept, [*columns, *(target.labels if isinstance(target, Classes) else target.names)])
    if isinstance(target, Values):
        # Learned in one go: NumPy sums a single column in another order, and the last bits would differ.
        mean, scale = statistics(np.column_stack([kept[0].inputs, kept[0].targets]), normalise)
        width = len(columns)
        target = replace(target, mean=mean[width:], scale=scale[width:], precision=precision)
        kept = [ArraySplit(split.inputs, target.normalise(split.targets)) for split in kept]
        mean, scale = mean[:width], scale[:width]
    else:
        mean, scale = statistics(kept[0].inputs, normalise)
    spec = DataSpec(name, TableInput(tuple(columns), mean, scale, precision), target, source, digest)
    return Data(spec, *kept)


def statistics(rows: Array, normalise: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what is subtracted from each column of [N, F] float64, and what it is then divided by.

    "min_max": minimum and range; "mean": mean and range; "standard": mean and standard deviation (of the population);
    "none": 0 and 1. A column of equal values is divided by 1.
    """
    count, width = rows.shape
    if normalise == "none":
        return (0.0,) * width, (1.0,) * width
    low = rows.min(axis=0)
    spread = rows.max(axis=0) - low
    flat = spread == 0
    middle = low if normalise == "min_max" else rows.sum(axis=0) / count
    scale = rows.std(axis=0) if normalise == "standard" else spread
    return tuple(middle.tolist()), tuple(np.where(flat, 1.0, scale).tolist())
