"""Where the exports of a run are, and which of them answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from expkit import standalone
from expkit.errors import ExportError
from expkit.export.certificate import Certificate, certificates_of
from expkit.export.formats import FORMATS
from expkit.report import quote_path

_PACKAGES = {"onnxruntime": "onnxruntime"}
"""What a runtime needs beside what expkit itself needs."""


def exports(folder: Path) -> dict[str, Path]:
    """Return what was exported of a run, by format.

    Args:
        folder: `export/` in the run's folder.
    """
    found = {name: folder / name for name in FORMATS if (folder / name / "model.yaml").is_file()}
    if (folder / "model.yaml").is_file():  # of a run that is older than formats, or an export by itself
        return {_written_as(folder): folder} | found
    return found


def find_export(folder: Path, wanted: str = "", runtime: str = "") -> Path:
    """Return the export that answers: of those that answer exactly as the model does, the fastest.

    Args:
        folder: `export/` in the run's folder.
        wanted: only this format.
        runtime: only formats that it runs; none of them is an error of who loads the export.

    Raises:
        ExportError: there is none.
    """
    found = exports(folder)
    again = f"Make one: python -m expkit export {quote_path(folder.parent)} --format {wanted or 'paddle'}"
    if wanted:
        if wanted not in found:
            there = f"it has {', '.join(found)}" if found else "it has none at all"
            raise ExportError(f"{folder} has no export of the format {wanted!r}; {there}. {again}")
        return found[wanted]
    able = [name for name in found if runtime in FORMATS[name].runtimes] or list(found)
    exact = [name for name in able if FORMATS[name].exact] or able
    if not exact:
        raise ExportError(f"{folder} holds no exported model. {again}")
    return found[min(exact, key=lambda name: _speed(found[name]))]


def _written_as(folder: Path) -> str:
    try:
        name = str(standalone.parse_about(folder).get("written_as", "paddle"))
    except standalone.UnusableExportError:
        return "paddle"  # whoever loads it says what is the matter
    return name if name in FORMATS else "paddle"


def _speed(folder: Path) -> tuple[bool, float]:
    certificate = read_certificate(folder)
    if certificate is None:
        return True, 0.0
    packages = [_PACKAGES[name] for name in (certificate.runtime,) if name in _PACKAGES]
    return any(importlib.util.find_spec(name) is None for name in packages), certificate.best.speed


def read_certificate(folder: Path) -> Certificate | None:
    """Return the certificate of an export; None where it has none that can be read."""
    try:
        values = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        return next(iter(certificates_of({"export": {"": values} if "runtimes" in values else values}).values()))
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        return None
