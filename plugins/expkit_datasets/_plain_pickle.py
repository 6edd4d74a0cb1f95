"""Reads pickles that hold numbers, texts, lists, dicts and arrays, and refuses all that could run code."""

from __future__ import annotations

import io
import pickle
from typing import Any

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which no data needs")
        # NumPy 2 has moved what older pickles name.
        return super().find_class("numpy._core.multiarray" if name == "_reconstruct" and _numpy_2() else module, name)


def _numpy_2() -> bool:
    import numpy as np

    return int(np.__version__.partition(".")[0]) >= 2


def read_pickle(content: bytes) -> dict[str, Any]:
    """Return the dict that a pickle of Python 2 or 3 holds.

    Raises:
        ValueError: it is none, holds something else, or names a class or function that no data needs.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"holds a {type(found).__name__}; expected a dict")
    return found
