"""Reads IDX files, the format of MNIST: a big-endian header and then the values, as they are or gzipped.

Format: http://yann.lecun.com/exdb/mnist, "file formats for the MNIST database". Two zero bytes, the type of
the values (0x08: unsigned byte), the number of dimensions, one 32-bit size for each, the values in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np

from expkit.api import Array, DataError

REMEDY = "Delete it and run again, or set dataset.root."
_UBYTE = 0x08
_CHUNK = 1 << 20
_KNOWN_STARTS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"PK\x03\x04": "a zip archive",
    b"\x93NUM": "a NumPy file",
    b"<": "an HTML or XML page",
}


def read_idx(path: Path, *, ndim: int, dataset: str) -> Array:
    """Read an IDX file of unsigned bytes; that it is gzipped is seen from its first bytes, not from its name.

    Args:
        path: the file.
        ndim: dimensions that it must have: 3 for images [N, H, W], 1 for labels [N].
        dataset: name of the dataset, for errors.

    Returns:
        A read-only, contiguous uint8 array.

    Raises:
        DataError: the file cannot be read, is cut short, is damaged, or is something else.
    """
    try:
        with _opened(path) as file:
            return _parse(file, ndim)
    except ValueError as error:
        raise DataError(f"dataset '{dataset}': {path} {error}. {REMEDY}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"dataset '{dataset}': {path} is a damaged gzip file ({error}). {REMEDY}") from error
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        remedy = "Make it a readable file, or set dataset.root."
        raise DataError(f"dataset '{dataset}': {path} {problem}. {remedy}") from error


def content_md5(values: Array) -> str:
    """Return the MD5 of the uncompressed IDX file that holds these uint8 values, however it was packed."""
    digest = hashlib.md5(header(values.shape), usedforsecurity=False)
    digest.update(np.ascontiguousarray(values).reshape(-1).data)
    return digest.hexdigest()


def header(shape: tuple[int, ...]) -> bytes:
    """Return the IDX header of unsigned bytes of this shape."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, _UBYTE, len(shape), *shape)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    with path.open("rb") as raw:
        if raw.peek(2)[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(BufferedReader, unpacked)
        else:
            yield raw


def _parse(file: BufferedReader, ndim: int) -> Array:
    size = 4 + 4 * ndim
    start = _read(file, size)
    if len(start) >= 4 or not start.startswith(b"\0\0"):
        _check_magic(start[:4], ndim)
    if len(start) < size:
        raise ValueError(f"ends after {len(start)} bytes, within its header of {size} bytes")
    shape = struct.unpack(f">{ndim}I", start[4:])
    count = math.prod(shape)
    body = _read(file, count)
    if len(body) < count:
        raise ValueError(f"ends after {size + len(body):,} of {size + count:,} bytes")
    _check_end(file, size + count)
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _check_magic(magic: bytes, ndim: int) -> None:
    expected = bytes([0, 0, _UBYTE, ndim])
    if magic == expected:
        return
    what = next((name for start, name in _KNOWN_STARTS.items() if magic.startswith(start)), "")
    if not magic:
        what = "an empty file"
    elif magic[:3] == expected[:3]:
        what = {1: "labels", 3: "images"}.get(magic[3], f"IDX values of {magic[3]} dimensions")
    found = f"starts with {magic.hex(' ') or 'nothing'}" + (f" ({what})" if what else "")
    kind = {1: "labels", 3: "images"}.get(ndim, "values")
    raise ValueError(f"is not an IDX file of {kind}: it {found}, expected {expected.hex(' ')}")


def _check_end(file: BufferedReader, size: int) -> None:
    try:
        more = file.read(1)
    except EOFError:
        raise ValueError(f"holds all {size:,} bytes, but the end of its gzip stream is missing") from None
    if more:
        raise ValueError(f"goes on after the {size:,} bytes that its header announces")


def _read(file: BufferedReader, count: int) -> bytes:
    """Read `count` bytes, or those that there are; a damaged header alone never allocates memory."""
    chunks: list[bytes] = []
    left = count
    while left:
        try:
            chunk = file.read1(min(left, _CHUNK))
        except EOFError:  # a gzip stream that is cut short
            break
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
