"""Arrays of raw samples: what a model's reader would have read from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from expkit.api import Array
from expkit.preprocess import ImageInput, TableInput, UnreadableInputError

UNIFORM = "all its pixels are the same, so there is nothing to see"


def fitting(raw: Any, reader: Any) -> Array:
    """Return raw samples [N, ...] as `reader` reads them, from an array of many or of one.

    Args:
        raw: images [N, H, W], in colour [N, H, W, 3], whole numbers from 0 to 255; or rows [N, F] of numbers.
        reader: of the model's inputs.

    Raises:
        UnreadableInputError: it has another shape or dtype, or holds a number that no sample has.
    """
    array = shaped(raw, reader)
    if len(array) and (reason := why_unfit(array, reader)):
        raise UnreadableInputError(reason)
    return as_read(array, reader)


def sample_shape(reader: Any) -> tuple[int, ...]:
    """Return the shape of one raw sample: (H, W), (H, W, 3) or (F,)."""
    if isinstance(reader, ImageInput):
        return (reader.height, reader.width, 3)[: 2 if reader.channels == 1 else 3]
    return tuple(int(size) for size in reader.shape)


def shaped(raw: Any, reader: Any) -> Array:
    """Return an array with the axis of the batch, as a view, after a look at shape and dtype.

    Raises:
        UnreadableInputError: one of them is not the model's.
    """
    try:
        array: Array = np.asanyarray(raw)
    except ValueError as error:  # lists of different lengths
        raise UnreadableInputError(f"no array of numbers ({error})") from error
    if not isinstance(reader, (ImageInput, TableInput)):
        return array
    shape = sample_shape(reader)
    if isinstance(reader, ImageInput) and reader.channels == 1 and array.shape[-1:] == (1,) and array.ndim > 2:
        array = array[..., 0]  # [..., H, W, 1], as other frameworks write grey images
    if array.shape == shape:
        array = array[None]
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise UnreadableInputError(f"an array of shape {_list(array.shape)}; the model takes [N, {wanted}]")
    kinds = "ui" if isinstance(reader, ImageInput) else "uif"
    if array.dtype.kind not in kinds:
        wanted = "raw pixels, whole numbers from 0 to 255 (uint8)" if kinds == "ui" else "numbers"
        raise UnreadableInputError(f"an array of {array.dtype}; the model takes {wanted}")
    return array


def why_unfit(array: Array, reader: Any) -> str:
    """Say what is wrong with the numbers of some samples; empty where nothing is."""
    if isinstance(reader, ImageInput) and array.dtype != np.uint8:
        low, high = int(array.min()), int(array.max())
        return "" if low >= 0 and high <= 255 else f"pixels from {low} to {high}; the model takes 0 to 255"
    if isinstance(reader, TableInput) and not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        where = f"row {row + 1}, " if len(array) > 1 else ""
        return f"{where}column {reader.columns[column]}: {array[row, column]} is not a finite number"
    return ""


def as_read(array: Array, reader: Any) -> Array:
    """Return samples in the dtype in which the reader reads them."""
    if isinstance(reader, ImageInput):
        return np.asarray(array, dtype=np.uint8)
    return np.asarray(array, dtype=np.float64) if isinstance(reader, TableInput) else array


def is_blank(sample: Array, reader: Any) -> bool:
    """Say whether a sample is an image of one colour, of which any answer would be a guess."""
    return isinstance(reader, ImageInput) and sample.size > 0 and bool(sample.min() == sample.max())


def _list(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
