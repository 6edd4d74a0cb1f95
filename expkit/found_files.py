"""Files in folders that a model can take."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.preprocess import TableInput

_NO_IMAGES = frozenset({".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf", ".grib", ".bufr"})
"""Of these, Pillow knows the name only, or needs another program."""


def suffixes(reader: Any) -> frozenset[str]:
    """Return the ends of the names of files that a reader takes, in lower case."""
    if isinstance(reader, TableInput):
        return frozenset({".csv"})
    from PIL import Image

    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN) - _NO_IMAGES


def within(folder: Path, suffixes: frozenset[str]) -> tuple[list[str], Counter[str], dict[str, str]]:
    """Return the files below a folder that end so, how many others there are by their ends, and what was closed."""
    found: list[str] = []
    left: Counter[str] = Counter()
    closed: dict[str, str] = {}

    def note(error: OSError) -> None:
        closed[str(error.filename)] = error.strerror or str(error)

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in suffixes and not name.startswith("."):
                found.append(str(Path(place, name)))
            else:
                left["hidden" if name.startswith(".") else suffix or "without an end"] += 1
    return sorted(found), left, closed


def counted(before: str, left: Mapping[str, int]) -> str:
    """Write how many files of which ends there are, the most first: "301 .png, 3 .jpg"; empty where there is none."""
    parts = [f"{count:,} {kind}" for kind, count in sorted(left.items(), key=lambda item: (-item[1], item[0]))]
    more = f" and {len(parts) - 6} other kinds" if len(parts) > 6 else ""
    return before + ", ".join(parts[:6]) + more if parts else ""
