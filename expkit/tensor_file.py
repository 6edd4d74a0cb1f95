"""Files in the format of safetensors, written from arrays and read into arrays without a second copy in memory.

The format (https://huggingface.co/docs/safetensors): eight bytes with the length of the header, the header as JSON with
dtype, shape and place of each array, the arrays. What is written is what `safetensors` writes, byte by byte, which
needs the whole file in memory for that, and makes a copy of all arrays when it reads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from expkit.errors import CheckpointError
from expkit.spec import Array

_ALIGNMENT = 8
# Widest first, as `safetensors` sorts them: so every array begins at a multiple of its item's size.
_KINDS = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_DTYPES = {kind: np.dtype(name).newbyteorder("<") for name, kind in _KINDS.items()}
_ORDER = {name: place for place, name in enumerate(_KINDS)}


class Target(Protocol):
    """What bytes are written to."""

    def write(self, data: Any, /) -> Any:
        """Take in a buffer of bytes."""


def write_tensors(target: Target, arrays: Mapping[str, Array]) -> None:
    """Write arrays, each straight from its own memory where that is in order.

    Args:
        target: such as a file that is open in binary mode.
        arrays: by name.

    Raises:
        CheckpointError: an array has a dtype that the format does not know.
        OSError: they cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _KINDS:
            raise CheckpointError(
                f"array {name!r} is {array.dtype}, which no checkpoint can hold. It may be {', '.join(_KINDS)}."
            )
    names = sorted(arrays, key=lambda name: (_ORDER[arrays[name].dtype.name], name.encode()))
    header, end = {}, 0
    for name in names:
        array, start = arrays[name], end
        end += array.nbytes
        kind = _KINDS[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
    told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % _ALIGNMENT)
    target.write(len(told).to_bytes(8, "little") + told)
    for name in names:
        array = np.asarray(arrays[name], dtype=_DTYPES[_KINDS[arrays[name].dtype.name]], order="C")
        target.write(array.reshape(-1).view(np.uint8).data)


def read_tensors(content: Array) -> dict[str, Array]:
    """Return the arrays of a file, each a view of its content.

    Args:
        content: [bytes] uint8, the whole file.

    Raises:
        ValueError: it is no such file; says why.
    """
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 + length:
        raise ValueError("the header of the arrays is cut short")
    header, data = json.loads(content[8 : 8 + length].tobytes()), content[8 + length :]
    found = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        start, end = facts["data_offsets"]
        dtype, shape = _DTYPES[facts["dtype"]], tuple(facts["shape"])
        if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"array {name!r} does not lie in bytes {start} to {end} of {len(data)}")
        found[name] = data[start:end].view(dtype).reshape(shape)
    return found
