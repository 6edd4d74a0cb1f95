"""A third party's distribution, made of files in a temporary folder."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from expkit import registry


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    entry_points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str] | None = None,
    name: str = "fake-plugins",
    version: str = "1.2",
) -> None:
    """Put modules and a .dist-info on the path: entry_points is {"models": {"cube": "module:Class"}}."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in (files or {}).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[expkit.{group}]", *(f"{point} = {target}" for point, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    modules = {Path(path).parts[0].removesuffix(".py") for path in files or {}}
    for loaded in [m for m in sys.modules if m.partition(".")[0] in modules]:
        monkeypatch.delitem(sys.modules, loaded)
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    registry.clear_cache()


def entry(kind: str, target: str, name: str = "cube") -> registry.Entry:
    """Announce a component without installing anything."""
    return registry.Entry(registry.kind_named(kind), name, target, "fake-plugins", "1.2")
