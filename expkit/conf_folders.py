"""The folders of Hydra configs: the user's, expkit's own, and those of other distributions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expkit import paths, registry
from expkit.source import package_folder


@dataclass(frozen=True)
class ConfFolder:
    """One folder of configs.

    Attributes:
        owner: who brings it: "./conf", "expkit", or a distribution with its version, "acme-expkit 1.2.0".
        path: the folder.
    """

    owner: str
    path: Path


def conf_folders() -> list[ConfFolder]:
    """Return the folders that exist, in the order in which Hydra looks into them."""
    user = user_conf_dir()
    first = [ConfFolder("./conf", user)] if user is not None else []
    return [*first, ConfFolder("expkit", paths.conf_dir()), *distribution_folders()]


def user_conf_dir() -> Path | None:
    """Return the folder ./conf of the user, or None if there is none or it is expkit's own."""
    folder = Path("conf").resolve()
    return folder if folder.is_dir() and folder != paths.conf_dir().resolve() else None


def distribution_folders() -> list[ConfFolder]:
    """Return the folders that distributions bring; none of their packages is imported."""
    located = [(f"{d.distribution} {d.version}", package_folder(d.package)) for d in registry.config_dirs()]
    return [ConfFolder(owner, folder) for owner, folder in located if folder is not None]
