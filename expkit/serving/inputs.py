"""From what a request brings to raw inputs: files, pictures and rows, each with its own error where it has one."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.errors import did_you_mean
from expkit.preprocess import ImageInput, TableInput, UnreadableInputError
from expkit.raw_arrays import UNIFORM, fitting, is_blank

Reader = ImageInput | TableInput
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
"""Images that are read, by Pillow's names."""
_SHOWN = 8


class RequestError(ValueError):
    """A request that cannot be understood as a whole.

    Args:
        text: what is wrong, and what would be right.
        status: of the answer.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Item:
    """Something to answer: a file, an image or a row.

    Attributes:
        name: what to call it: the file's name, or "row 3".
        content: bytes of a file, or a value of the JSON.
    """

    name: str
    content: Any


def items_of_json(body: bytes, reader: Reader) -> list[Item]:
    """Take a JSON body apart: `{"rows": [...]}` for a table, `{"images": [...]}` for images.

    Raises:
        RequestError: it is neither.
    """
    wanted, other = ("images", "rows") if isinstance(reader, ImageInput) else ("rows", "images")
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON ({error}).") from error
    example = f'{{"{wanted}": [...]}}'
    if not isinstance(value, dict):
        raise RequestError(f"the body is a JSON {_kind(value)}; expected {example}.")
    if other in value:
        raise RequestError(f"this model takes {wanted}, not {other}: {example}.", 422)
    unknown = [key for key in value if key != wanted]
    if unknown or wanted not in value:
        near = did_you_mean(unknown[0], [wanted]) if unknown else ""
        raise RequestError(f"the JSON has the keys {_listed(value)}; expected {example}.{near}", 422)
    if not isinstance(value[wanted], list):
        raise RequestError(f'"{wanted}" is a {_kind(value[wanted])}; expected a list: {example}.', 422)
    word = wanted.removesuffix("s")
    return [Item(f"{word} {number}", content) for number, content in enumerate(value[wanted], start=1)]


def raw_of(item: Item, reader: Reader) -> Array:
    """Return the raw inputs [N, ...] of an item: one for an image or a row, one a line for a CSV file.

    Raises:
        UnreadableInputError: it is not what the model takes.
    """
    if isinstance(item.content, bytes):
        return raw_of_file(item.content, reader)
    if isinstance(reader, TableInput):
        return np.array([list(_cells(item.content, reader))], dtype=np.float64)
    if isinstance(item.content, str):
        return raw_of_file(_decoded(item.content), reader)
    return _pixels(item.content, reader)


def raw_of_file(content: bytes, reader: Reader) -> Array:
    """Read what stands in a file: an image, or CSV.

    Raises:
        UnreadableInputError: it is not what the model takes.
    """
    if not content:
        raise UnreadableInputError("it is empty")
    if isinstance(reader, ImageInput):
        _check_format(content)
    raw = reader.read(io.BytesIO(content))
    _check_contrast(raw, reader)
    return raw


def _check_format(content: bytes) -> None:
    """Refuse files that Pillow would start another program for, such as EPS, and formats that are rarely tested.

    Raises:
        UnreadableInputError: it is no image, or one of another format than `FORMATS`.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the reader has its own limit
            Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]).close()
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise UnreadableInputError(f"not a readable image: it is none of the formats {known}") from error
    except Exception as error:  # for damaged files, Pillow's formats raise nearly anything
        raise UnreadableInputError(f"not a readable image ({error})") from error


def _check_contrast(raw: Array, reader: Reader) -> None:
    if is_blank(raw, reader):
        raise UnreadableInputError(UNIFORM)


def _decoded(text: str) -> bytes:
    """Bytes of base64, which may stand in a data URL."""
    head, comma, rest = text.partition(",")
    try:
        return base64.b64decode(rest if comma and head.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableInputError(f"not base64 ({error})") from error


def _pixels(value: Any, reader: ImageInput) -> Array:
    """Raw [1, H, W] or [1, H, W, 3] of nested lists, which are taken as the training images were: never inverted."""
    if not isinstance(value, list):
        raise UnreadableInputError(
            f"JSON of the type {_kind(value)}; expected base64 of an image file, or lists of its pixels"
        )
    raw = fitting(value, reader)
    if len(raw) != 1:
        raise UnreadableInputError(f"{len(raw)} images in one; each is an item of its own")
    _check_contrast(raw, reader)
    return raw


def _cells(row: Any, reader: TableInput) -> Iterator[float]:
    columns = reader.columns
    if isinstance(row, list):
        if len(row) != len(columns):
            raise UnreadableInputError(f"{len(row)} values; expected {len(columns)}: {', '.join(columns)}")
        row = dict(zip(columns, row, strict=True))
    if not isinstance(row, Mapping):
        raise UnreadableInputError(f"a {_kind(row)}; expected an object with the columns {', '.join(columns)}")
    unknown = [name for name in row if name not in columns]
    if unknown:
        near = did_you_mean(unknown[0], columns)
        raise UnreadableInputError(f"no column is called {_listed(unknown)}.{near} Columns: {', '.join(columns)}")
    missing = [name for name in columns if name not in row]
    if missing:
        raise UnreadableInputError(f"no value for {', '.join(missing)}")
    for name in columns:
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
            raise UnreadableInputError(f"column {name}: {json.dumps(value)[:40]} is not a finite number")
        yield float(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floating-point ones
        return False


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return names.get(type(value), "null")


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    shown = [repr(str(name)[:40]) for name in list(names)[:_SHOWN]]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "") if shown else "none"
