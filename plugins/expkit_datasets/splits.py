"""Cuts a set into train, valid and test: a pure function of its classes, the shares and a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from expkit.api import Array, ConfigError


def cut(
    dataset: str, classes: Array, labels: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, Array]:
    """Return the indices of each part, in an order in which every stretch has its share of each class.

    Args:
        dataset: its name, for errors.
        classes: [N] int64, what the parts are to have alike; all 0 where there are no classes.
        labels: name of each class; empty where there are none.
        shares: for each part but "train", which gets the rest, its share (below 1) or its number of samples.
        seed: of the order.

    Returns:
        Indices [n] int64 for "train" and each part of `shares`.

    Raises:
        ConfigError: a share or the seed is out of range, or nothing is left for training, of all or of one class.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(
            f"dataset '{dataset}': split_seed is {seed}; expected 0 to 4294967295. Set dataset.split_seed."
        )
    sizes = {part: _size(dataset, part, share, len(classes)) for part, share in shares.items()}
    left = len(classes) - sum(sizes.values())
    if left < 1:
        wanted = " and ".join(f"dataset.{part}={shares[part]:g}" for part in shares)
        raise ConfigError(f"dataset '{dataset}': {wanted} leave nothing of {len(classes):,} samples for training.")
    order = _spread(classes, seed)
    ends = np.cumsum([0, *sizes.values()])
    parts = {part: order[first:last] for part, first, last in zip(sizes, ends, ends[1:], strict=False)}
    parts["train"] = order[ends[-1] :]
    gone = sorted(set(range(len(labels))) - set(classes[parts["train"]].tolist()))
    if gone:
        found = int((classes == gone[0]).sum())
        remedy = f" Lower {' and '.join(f'dataset.{part}' for part in shares)}." if shares and found else ""
        text = f"no sample of {labels[gone[0]]!r} is left for training, of {found} in all"
        raise ConfigError(f"dataset '{dataset}': {text}.{remedy}")
    return parts


def _size(dataset: str, part: str, share: float, total: int) -> int:
    if not (0 < share < 1 or (share >= 1 and math.isfinite(share) and share == int(share))):
        raise ConfigError(
            f"dataset '{dataset}': {part} is {share:g}; expected a share between 0 and 1, or a whole number of "
            f"samples. Set dataset.{part}."
        )
    return max(1, round(share * total)) if share < 1 else int(share)


def _spread(classes: Array, seed: int) -> Array:
    """Return all indices in a random order, except that each class is spread evenly over it."""
    # RandomState's streams never change, so neither does the split.
    order = np.random.RandomState(seed).permutation(len(classes))
    place = np.empty(len(classes))
    for one in np.unique(classes):
        members = order[classes[order] == one]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    spread: Array = order[np.argsort(place[order], kind="stable")]
    return spread
