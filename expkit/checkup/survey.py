"""Goes through a split once and gathers what the findings about data need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from expkit.api import Array, DataSpec, Split

CHUNK = 1000


@dataclass
class Survey:
    """A split in figures.

    Attributes:
        size: samples that it has.
        seen: samples that were looked at: all of them, unless that took too long.
        mean: of normalised inputs, as are `std`, `low` and `high`.
        not_finite: numbers among the normalised inputs and the targets that are NaN or infinite.
        classes: samples of each class seen [K]; empty for values.
        target_mean: of normalised values [K]; empty for classes.
        target_std: likewise.
        constant: indices of the input columns that are the same in all samples seen; of tables only.
        hashes: of the raw samples seen.
    """

    size: int
    seen: int = 0
    mean: float = 0.0
    std: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    not_finite: int = 0
    classes: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    target_mean: Array = field(default_factory=lambda: np.zeros(0))
    target_std: Array = field(default_factory=lambda: np.zeros(0))
    constant: list[int] = field(default_factory=list)
    hashes: set[bytes] = field(default_factory=set)


def survey(split: Split, spec: DataSpec, seconds: float) -> Survey:
    """Look at a split: whole, or at samples spread over it for so long.

    Args:
        split: the samples.
        spec: of the data.
        seconds: after which no further samples are read.
    """
    found = Survey(len(split), classes=np.zeros(spec.outputs if spec.is_classification else 0, np.int64))
    total = squares = count = 0.0
    values: list[Array] = []
    lowest = highest = None
    for raw, targets in _chunks(split, seconds):
        found.seen += len(raw)
        found.hashes.update(blake2b(sample.tobytes(), digest_size=16).digest() for sample in np.ascontiguousarray(raw))
        inputs = spec.input.normalise(raw).astype(np.float64)
        good = inputs[np.isfinite(inputs)]
        found.not_finite += inputs.size - good.size + int((~np.isfinite(targets)).sum())
        if good.size:
            total, squares, count = total + good.sum(), squares + np.square(good).sum(), count + good.size
            found.low, found.high = min(found.low, good.min()), max(found.high, good.max())
        if inputs.ndim == 2:
            low, high = inputs.min(axis=0), inputs.max(axis=0)
            lowest = low if lowest is None else np.minimum(lowest, low)
            highest = high if highest is None else np.maximum(highest, high)
        if spec.is_classification:
            found.classes += np.bincount(targets, minlength=spec.outputs)
        else:
            values.append(np.asarray(targets, np.float64))
    if count:
        found.mean = total / count
        found.std = max(squares / count - found.mean**2, 0.0) ** 0.5
    if values:
        found.target_mean, found.target_std = np.concatenate(values).mean(axis=0), np.concatenate(values).std(axis=0)
    if lowest is not None and highest is not None:
        found.constant = np.flatnonzero(lowest == highest).tolist()
    return found


def _chunks(split: Split, seconds: float) -> Iterator[tuple[Array, Array]]:
    """Yield samples until all were there or the time is over; each chunk is spread over the whole split."""
    started = time.monotonic()
    chunks = -(-len(split) // CHUNK)
    for first in range(chunks):
        yield split.gather(np.arange(first, len(split), chunks))
        if time.monotonic() - started > seconds:
            return
