"""Reads `mnist.json.gz`: `[[images, labels], ...]` for train, valid, eval; an image is 784 numbers in [0, 1].

Reading takes 7 s and 0.7 GB of memory (17 s and 2.8 GB through `json.loads` alone), so the result is kept as
`.npz` in the user's cache, under the SHA-256 of the file.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import logging
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, DataError, cache_dir
from expkit_datasets.idx import REMEDY

NAMES = ("mnist.json.gz", "mnist.json")
_SIDE = 28
_ROWS = 1000
_FLAT = re.compile(rb"\[([^\[\]]*)\]")
"""A list that holds no list."""
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_log = logging.getLogger("expkit.data")


def read_json(path: Path, *, dataset: str) -> dict[str, Array]:
    """Read train and valid, joined again in file order, and eval.

    Args:
        path: the file, gzipped or not.
        dataset: name of the dataset, for errors.

    Returns:
        `train_images` and `test_images` [N, 28, 28] uint8, `train_labels` and `test_labels` [N] uint8.

    Raises:
        DataError: the file cannot be read, is damaged, or is laid out differently.
    """
    try:
        packed = path.read_bytes()
        cached = cache_dir() / "parsed" / f"mnist-json-{hashlib.sha256(packed).hexdigest()[:32]}.npz"
        known = _load(cached)
        if known is not None:
            return known
        arrays = _arrays(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"dataset '{dataset}': {path} is a damaged gzip file ({error}). {REMEDY}") from error
    except OSError as error:
        raise DataError(f"dataset '{dataset}': {path} cannot be read ({error.strerror}). Set dataset.root.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"dataset '{dataset}': {path} is not JSON ({error}). {REMEDY}") from error
    except ValueError as error:
        raise DataError(f"dataset '{dataset}': {path} {error}. {REMEDY}") from None
    _save(cached, arrays)
    return arrays


def _arrays(text: bytes) -> dict[str, Array]:
    """Read all splits without making an object of each of 55 million numbers.

    The flat lists (an image, or the labels of a split) are taken out, and what is left tells how they belong
    together. In an image each distinct number, of which there are some 256, is converted once.
    """
    skeleton, lists = _FLAT.subn(b"0", text)
    counts = _layout(json.loads(skeleton), lists)
    levels = _Levels(_scale(text))
    flat = _FLAT.finditer(text)
    images: list[Array] = []
    labels: list[Array] = []
    for name, count in counts.items():
        images.append(np.stack([_image(next(flat)[1], levels, name) for _ in range(count)]))
        labels.append(_labels(json.loads(next(flat)[0]), name))
        if len(labels[-1]) != count:
            raise ValueError(f"holds {count:,} images but {len(labels[-1]):,} labels of {name}")
    values = (np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2])
    return dict(zip(_ARRAYS, values, strict=True))


def _layout(content: Any, lists: int) -> dict[str, int]:
    """Return the number of images in each split, of a content whose `lists` flat lists were replaced by 0."""
    if _is_list(content, 3) and all(_is_list(split, 2) and split[1] == 0 for split in content):
        images = [split[0] for split in content]
        if all(isinstance(rows, list) and rows and rows.count(0) == len(rows) for rows in images):
            counts = [len(rows) for rows in images]
            if sum(counts) + len(counts) == lists:
                return dict(zip(("train", "valid", "eval"), counts, strict=True))
    raise ValueError("is not laid out as [[images, labels], ...] for train, valid and eval")


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


class _Levels(dict[bytes, int]):
    """Grey level of each number as it is written, worked out when it is first asked for."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def __missing__(self, token: bytes) -> int:
        value = float(token)
        if not 0.0 <= value <= 1.0:
            raise _RangeError(value)
        level = self[token] = min(round(value * self._scale), 255)
        return level


class _RangeError(ValueError):
    """A pixel that is not between 0 and 1."""


def _scale(text: bytes) -> float:
    """Return what pixels were divided by: 255, or 256 as in `mnist.pkl.gz`, where such files come from."""
    tokens: set[bytes] = set()
    for match in itertools.islice(_FLAT.finditer(text), _ROWS):
        tokens.update(match[1].split(b","))
    try:
        values = np.array([float(token) for token in tokens])
    except ValueError:
        return 255.0  # not numbers: told when the image is read
    values = values[(values >= 0.0) & (values <= 255.5 / 256)]

    def distance(scale: float) -> float:
        return float(np.abs(values * scale - np.rint(values * scale)).sum())

    return 256.0 if b"1.0" not in tokens and distance(256.0) < distance(255.0) else 255.0


def _image(row: bytes, levels: _Levels, name: str) -> Array:
    try:
        pixels = bytes(map(levels.__getitem__, row.split(b",")))
    except _RangeError as error:
        raise ValueError(f"holds a pixel of {error} in {name}; expected 0 to 1") from None
    except ValueError:
        pixels = b""
    if len(pixels) != _SIDE * _SIDE:
        raise ValueError(f"holds an image of {name} that is not a row of {_SIDE * _SIDE} numbers")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(_SIDE, _SIDE)


def _labels(numbers: list[Any], name: str) -> Array:
    if not all(isinstance(number, int) and 0 <= number <= 255 for number in numbers):
        raise ValueError(f"holds labels of {name} that are not whole numbers from 0 to 9")
    return np.array(numbers, dtype=np.uint8)


def _load(path: Path) -> dict[str, Array] | None:
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return {name: archive[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged (%s); the original file is read again", path, error)
        return None


def _save(path: Path, arrays: dict[str, Array]) -> None:
    part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    except OSError as error:
        _log.info("the parsed MNIST is not kept: %s cannot be written (%s)", path, error.strerror)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
