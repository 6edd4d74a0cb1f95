"""Reads and writes `model.pdiparams`, without Paddle: tensors one behind another, in the order of their names.

Each is: 4 bytes version, 8 bytes level of detail (both 0), 4 bytes version, 4 bytes length of a description, the
description (protobuf: field 1 is the type, field 2 each extent), and the numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from expkit.api import Array
from expkit.errors import ExportError

_TYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
}
_NUMBERS = {name: number for number, name in _TYPES.items()}
_HEAD = struct.Struct("<IQIi")


def read_weights(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Return the tensors of a file by name.

    Args:
        path: `model.pdiparams`.
        names: of all tensors in it, in any order.

    Raises:
        ExportError: the file holds something else.
    """
    data, place, found = path.read_bytes(), 0, {}
    for name in sorted(names):
        try:
            *_, length = _HEAD.unpack_from(data, place)
            place += _HEAD.size
            kind, shape = _description(data[place : place + length])
            place += length
            count = int(np.prod(shape, dtype=np.int64))
            found[name] = np.frombuffer(data, _TYPES[kind], count, place).reshape(shape)
            place += found[name].nbytes
        except (struct.error, KeyError, ValueError, IndexError) as error:
            raise ExportError(f"{path}: weight {name!r} cannot be read ({error}).") from error
    if place != len(data):
        raise ExportError(f"{path}: {len(data) - place:,} bytes are left over behind {len(found)} weights.")
    return found


def write_weights(path: Path, weights: Mapping[str, Array]) -> None:
    """Write tensors as Paddle reads them."""
    with path.open("wb") as file:
        for name in sorted(weights):
            array = np.ascontiguousarray(weights[name])
            described = b"\x08" + _varint(_NUMBERS[str(array.dtype)])
            described += b"".join(b"\x10" + _varint(extent) for extent in weights[name].shape)
            file.write(_HEAD.pack(0, 0, 0, len(described)) + described + array.tobytes())


def _description(data: bytes) -> tuple[int, list[int]]:
    kind, shape, place = -1, [], 0
    while place < len(data):
        field = data[place]
        value, place = _read_varint(data, place + 1)
        if field == 0x08:
            kind = value
        elif field == 0x10:
            shape.append(value)
        else:
            raise ValueError(f"unknown field {field}")
    return kind, shape


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
