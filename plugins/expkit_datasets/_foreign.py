"""Reads the samples of objects that know nothing of expkit: datasets of Paddle, generators, lists, pairs of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataError

NAME = "paddle_dataset"
OPTIONS = {"train": "of", "valid": "valid_of", "test": "test_of"}
Sample = tuple[Array, Any]
"""An input, and a target: an array, a number or a text."""
_PROBED, _TIMES = 8, 3


@dataclass(frozen=True)
class Reader:
    """Samples by number.

    Attributes:
        part: "train", "valid" or "test".
        length: number of samples.
        get: returns the sample of a number, counted from 0.
        kept: whether all samples are in memory by now.
    """

    part: str
    length: int
    get: Callable[[int], Any]
    fields: tuple[int | str, ...]
    kept: bool = False

    def sample(self, number: int) -> Sample:
        """Return a sample as arrays.

        Raises:
            DataError: it cannot be had, or has no such fields.
        """
        where = f"dataset '{NAME}': sample {number} of {self.part}"
        try:
            given = self.get(number)
        except Exception as error:  # somebody's code may raise anything
            raise DataError(f"{where} raises {type(error).__name__}: {error}. EXPKIT_DEBUG=1 shows where.") from error
        try:
            given_input, target = (given[field] for field in self.fields)
        except (IndexError, KeyError, TypeError):
            has = f"a dict of {', '.join(map(repr, given))}" if isinstance(given, dict) else f"a {type(given).__name__}"
            size = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
            wanted = " and ".join(map(repr, self.fields))
            raise DataError(
                f"{where} is {has}{size}; expected input and target at {wanted}. Set dataset.fields, such as "
                "[image,label] for a dict."
            ) from None
        return as_array(given_input), target if isinstance(target, str) else as_array(target)


def as_array(value: Any) -> Array:
    """Turn a tensor, a picture of Pillow, a list or a number into an array."""
    numpy = getattr(value, "numpy", None)
    array = np.asarray(numpy() if callable(numpy) else value)
    return array.astype(np.uint8) * 255 if array.dtype == bool and array.ndim > 1 else array


def reader(given: Any, part: str, fields: Sequence[int | str], limit: int | None, memory_limit: int) -> Reader:
    """Return a reader of an object; what can only be gone through is gathered into memory.

    Args:
        given: has a length and an index; or can be gone through; or returns what can be gone through; or is a pair of
            arrays.
        part: of the data.
        fields: where input and target are in a sample.
        limit: read so many samples at most.
        memory_limit: in MB, of a stream.

    Raises:
        ConfigError: it is nothing of these.
        DataError: it has no samples, or a stream is too long.
    """
    chosen = tuple(fields)
    if isinstance(given, (tuple, list)) and len(given) == 2 and _are_columns(*given):
        columns = [as_array(column) for column in given]
        made = Reader(part, len(columns[0]), lambda i: (columns[0][i], columns[1][i]), (0, 1), kept=True)
    elif (length := _length(given)) is not None:
        made = Reader(part, length, given.__getitem__, chosen, kept=isinstance(given, (list, tuple)))
    else:
        samples = _gathered(_stream(given, part), part, limit, memory_limit)
        made = Reader(part, len(samples), samples.__getitem__, chosen, kept=True)
    if made.length == 0:
        raise DataError(f"dataset '{NAME}': {part} has no samples.")
    return made if limit is None or limit >= made.length else Reader(part, limit, made.get, made.fields, made.kept)


def _are_columns(inputs: Any, targets: Any) -> bool:
    shapes = [getattr(column, "shape", ()) for column in (inputs, targets)]
    return all(len(shape) > 0 for shape in shapes) and len(shapes[0]) > 1 and shapes[0][0] == shapes[1][0]


def _length(given: Any) -> int | None:
    """Return the length of what has one and an index; Paddle's streams have both, but raise when asked."""
    if not hasattr(given, "__getitem__") or isinstance(given, (str, dict)):
        return None
    try:
        return len(given)
    except (TypeError, RuntimeError, NotImplementedError):
        return None


def _stream(given: Any, part: str) -> Iterable[Any]:
    for source in (given, given() if callable(given) and not hasattr(given, "__iter__") else None):
        if hasattr(source, "__iter__") and not isinstance(source, (str, dict)):
            return source  # type: ignore[no-any-return]
    raise ConfigError(
        f"dataset.{OPTIONS[part]} is a {type(given).__name__}; expected a paddle.io.Dataset or "
        "IterableDataset, a function that returns a generator, a list of samples, or a pair of arrays."
    )


def _gathered(stream: Iterable[Any], part: str, limit: int | None, memory_limit: int) -> list[Any]:
    samples: list[Any] = []
    size = 0
    for sample in _one_by_one(stream):
        if limit is not None and len(samples) >= limit:
            break
        samples.append(sample)
        values = sample.values() if isinstance(sample, dict) else sample if isinstance(sample, (list, tuple)) else ()
        size += sum(as_array(value).nbytes for value in values)
        if size > memory_limit * 1_000_000:
            raise DataError(
                f"dataset '{NAME}': {part} has given {len(samples):,} samples ({size / 1e6:,.0f} MB) and goes "
                "on; what has no index is kept in memory. Set dataset.limit to take the first so many, raise "
                "dataset.memory_limit (MB), or give it __len__ and __getitem__."
            )
    return samples


def _one_by_one(stream: Iterable[Any]) -> Iterator[Any]:
    """Yield samples, also of a reader that yields lists of them (`paddle.batch`)."""
    for item in stream:
        if isinstance(item, list) and item and isinstance(item[0], (tuple, dict)):
            yield from item
        else:
            yield item


def is_random(source: Reader) -> bool:
    """Say whether samples differ each time they are read, as they do where a dataset augments them."""
    if source.kept:
        return False
    for number in range(min(_PROBED, source.length)):
        first = source.sample(number)[0]
        if any(not np.array_equal(first, source.sample(number)[0]) for _ in range(_TIMES)):
            return True
    return False


def content(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 (hex) of samples in their order."""
    digest = hashlib.sha256()
    for given_input, target in samples:
        for value in (given_input, np.asarray(target)):
            digest.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
