"""Small files in MNIST's format, for the tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from expkit.api import Array, Data
from expkit_datasets.mnist import PARTS, mnist


def idx(values: Array) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def small_set(train: int = 40, test: int = 10) -> dict[str, Array]:
    generator = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for key, count in (("train", train), ("test", test)):
        arrays[f"{key}_images"] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{key}_labels"] = np.arange(count, dtype=np.uint8) % 10
    return arrays


def write_set(folder: Path, arrays: dict[str, Array], packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, values in arrays.items():
        data = idx(values)
        name = PARTS[key].stem
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return folder


def small(folder: Path, **options: object) -> Data:
    return mnist(root=str(folder), check=False, **{"valid": 10, **options})  # type: ignore[arg-type]


def inputs(split: object) -> Array:
    return split.gather(np.arange(len(split)))[0]  # type: ignore[arg-type,attr-defined,no-any-return]


def targets(split: object) -> Array:
    return split.gather(np.arange(len(split)))[1]  # type: ignore[arg-type,attr-defined,no-any-return]
