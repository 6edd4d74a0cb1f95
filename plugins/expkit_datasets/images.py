"""Turns arrays of labelled images into `Data`: limit, normalisation of the training split, fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from expkit.api import Array, ArraySplit, Classes, Data, DataSource, DataSpec, ImageInput, Values

Labelled = tuple[Array, Array]
"""Images [N, H, W] uint8 and labels [N] of any integer type."""

DIGITS = tuple("0123456789")
TARGETS = ("class", "number")
"""What a digit may be for a model: one of ten classes, or a number to come near to."""
_CHUNK = 1 << 16


def image_data(
    name: str,
    source: DataSource,
    *,
    train: Labelled,
    valid: Labelled,
    test: Labelled,
    target: str = "class",
    limit: int | None = None,
    few: int | None = None,
) -> Data:
    """Make `Data` of bright-on-dark grey digits.

    Args:
        name: the data's true name.
        source: where the data came from.
        train: images [N, H, W] uint8 and labels [N]; mean and standard deviation are learned here only.
        valid: likewise.
        test: likewise.
        target: one of `TARGETS`.
        limit: keep the first `limit` samples of train and a fifth as many of valid and test; None keeps all.
        few: keep the first `few` samples of train only; None keeps all.
    """
    part = None if limit is None else max(1, limit // 5)
    most = min((number for number in (limit, few) if number is not None), default=None)
    splits = [_split(pair, keep) for pair, keep in ((train, most), (valid, part), (test, part))]
    mean, std = pixel_statistics(splits[0].inputs)
    _, height, width = splits[0].inputs.shape
    image = ImageInput(height=height, width=width, channels=1, mean=(mean,), std=(std,), invert="auto")
    digest = fingerprint(splits)  # of the labels as they are: taken for numbers, they are the same data
    if target == "class":
        return Data(DataSpec(name, image, Classes(DIGITS), source, digest), *splits)
    number = Values(("digit",), mean=(0.0,), scale=(1.0,))
    numbers = [ArraySplit(split.inputs, number.normalise(split.targets[:, None])) for split in splits]
    return Data(DataSpec(name, image, number, source, digest), *numbers)


def pixel_statistics(images: Array) -> tuple[float, float]:
    """Return mean and standard deviation of pixel / 255, from a histogram, so the same on every machine.

    A standard deviation of 0 (all pixels equal) is given as 1, so that dividing by it is harmless.
    """
    flat = images.reshape(-1)
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, flat.size, _CHUNK):  # bincount copies to int64: in pieces, it stays in the CPU's cache
        counts += np.bincount(flat[start : start + _CHUNK], minlength=256)
    values = np.arange(256, dtype=np.float64) / 255.0
    mean = float(counts @ values / flat.size)
    variance = float(counts @ (values - mean) ** 2 / flat.size)
    return mean, variance**0.5 or 1.0


def fingerprint(splits: Sequence[ArraySplit], names: Sequence[str] = ()) -> str:
    """Return the SHA-256 (hex) over names (of columns, say), and shapes and bytes of all splits, in order."""
    digest = hashlib.sha256("\0".join(names).encode())
    for split in splits:
        for values in (split.inputs, split.targets):
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).reshape(-1).data)
    return digest.hexdigest()


def _split(pair: Labelled, keep: int | None) -> ArraySplit:
    images, labels = pair
    if keep is not None and keep < len(images):
        images = images[:keep].copy()  # a view would hold on to the whole
    return ArraySplit(np.ascontiguousarray(images), labels[:keep].astype(np.int64))
