"""The few places on disk that expkit knows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT_CONFIG = "expkit"
"""Name of the root config. Not "config": a user's ./conf comes first, and many projects have a conf/config.yaml."""


def cache_dir() -> Path:
    """Folder for downloaded data: `$EXPKIT_CACHE_DIR`, else `expkit` in the user's cache folder; not created here."""
    chosen = os.environ.get("EXPKIT_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "expkit"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/expkit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "expkit"


def data_dir() -> Path | None:
    """Folder named by `$EXPKIT_DATA_DIR`, with one sub-folder a dataset (`mnist/`, `uci_housing/`), or None."""
    chosen = os.environ.get("EXPKIT_DATA_DIR")
    return Path(chosen).expanduser() if chosen else None


def conf_dir() -> Path:
    """Folder of expkit's own Hydra configs: `conf/` of a checkout, `expkit/conf` of an installed wheel."""
    inside = _package() / "conf"
    return inside if inside.is_dir() else _package().parent / "conf"


def template_dir() -> Path:
    """Folder of the template of a plugin project."""
    return _package() / "templates" / "plugin"


def _package() -> Path:
    return Path(__file__).resolve().parent
