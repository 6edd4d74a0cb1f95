"""Writes a plugin project from its template `expkit/templates/plugin`, a distribution that brings one component a kind.

A line of a template that is for one kind only ends in `#? model` or `#? not model` (in Markdown `<!--? model -->`), and
`plugin_name` and `plugin-name` stand for the names of the package and of the distribution.
"""

from __future__ import annotations

import contextlib
import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from expkit import distributions
from expkit.api_version import VERSION
from expkit.errors import ConfigError
from expkit.paths import template_dir
from expkit.registry import KINDS, Kind, kind_named

_MARK = re.compile(r"[ \t]*(?:#\?|<!--\?) (?P<no>not )?(?P<kind>\w+)(?: -->)?(?P<rest>\|?)$")
_POINT = re.compile(r'^(?P<name>\w+) = "plugin_name\.(?P<module>\w+):\w+" #\? (?P<kind>\w+)$', re.M)
_LONGEST = 30


@dataclass(frozen=True)
class Sketch:
    """The component of a kind in the template.

    Attributes:
        kind: its kind.
        name: its entry point, with `plugin_name` in it.
        module: its module in the package.
    """

    kind: Kind
    name: str
    module: str

    def owns(self, path: str) -> bool:
        """Say whether a file of the template is for this component only."""
        folder, _, file = path.rpartition("/")
        mine = file in (f"{self.module}.py", f"test_{self.module}.py")
        return mine or folder.endswith(f"conf/{self.kind.config_group}")


def sketches() -> dict[str, Sketch]:
    """Return the components of the template by their kind."""
    text = (template_dir() / "pyproject.toml").read_text(encoding="utf-8")
    found = {m["kind"]: Sketch(kind_named(m["kind"]), m["name"], m["module"]) for m in _POINT.finditer(text)}
    return {kind.name: found[kind.name] for kind in KINDS if kind.name in found}


def check_name(name: str) -> str:
    """Return the package that a distribution of this name has.

    Raises:
        ConfigError: no package can be called so, or something that is installed is.
    """
    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(package):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        hint = f" Did you mean {near!r}?" if near and near != name and not keyword.iskeyword(near) else ""
        raise ConfigError(
            f"a plugin cannot be called {name!r}: Python imports it by that name, so that it has small letters, "
            f"digits, _ and - only, begins with a letter, and is no word of Python's own.{hint}"
        )
    if len(name) > _LONGEST:
        raise ConfigError(f"{name!r} has {len(name)} letters: a plugin's name has at most {_LONGEST}.")
    if package in sys.stdlib_module_names:
        raise ConfigError(f"a plugin cannot be called {name!r}: Python's own library has a module of that name.")
    taken = distributions.installed(name)
    if taken is not None:
        raise ConfigError(
            f"a plugin cannot be called {name!r}: {taken} is installed. Choose another name, or uninstall it."
        )
    place = _imported_from(package)
    if place is not None:
        raise ConfigError(f"a plugin cannot be called {name!r}: `import {package}` finds {place}. Choose another name.")
    return package


def _imported_from(package: str) -> str | None:
    """Return where a package comes from that is there already; a folder without code is none."""
    with contextlib.suppress(ValueError, ImportError):
        spec = importlib.util.find_spec(package)
        return spec.origin if spec is not None else None
    return None


def render(name: str, kinds: Collection[str]) -> dict[str, str]:
    """Return the files of a project: text by path.

    Args:
        name: of the distribution.
        kinds: names of the kinds that it brings a component of.
    """
    root, package = template_dir(), name.replace("-", "_")
    others = [sketch for kind, sketch in sketches().items() if kind not in kinds]
    files = {}
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        hidden = any(
            part.startswith((".", "__pycache__")) for part in place.split("/")
        )  # what tools leave in a checkout
        if path.is_dir() or hidden or any(sketch.owns(place) for sketch in others):
            continue
        text = _chosen(path.read_text(encoding="utf-8"), kinds)
        place = place.replace("plugin_name", package)
        if place == "pyproject.toml":
            text = text.replace('"expkit>=0.0.0"', f'"expkit>={version("expkit")}"').replace(
                '"0.0" =', f'"{VERSION}" ='
            )
        place = {"gitignore": ".gitignore"}.get(place, place)
        files[place] = text.replace("plugin_name", package).replace("plugin-name", name)
    return files


def _chosen(text: str, kinds: Collection[str]) -> str:
    """Leave out the lines of other kinds, and a blank line behind another one where these stood."""
    lines: list[str] = []
    gap = False
    for line in text.splitlines():
        mark = _MARK.search(line)
        if mark is not None and (mark["kind"] in kinds) == bool(mark["no"]):
            gap = True
        elif mark is not None:
            lines.append(line[: mark.start()] + (f" {mark['rest']}" if mark["rest"] else ""))
            gap = False
        elif line or not (gap and lines and (not lines[-1] or lines[-1].startswith("#"))):
            lines.append(line)
            gap = False
    return "\n".join(lines) + "\n" if lines else ""


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a new folder: all of them, or nothing.

    Raises:
        ConfigError: the folder is there and not empty, or cannot be written.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "there is a file of that name" if folder.is_file() else "this folder is not empty"
        raise ConfigError(f"{folder}: {what}, and nothing is overwritten. Name another one: --into FOLDER")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _beside(folder) as draft:
            for place, text in files.items():
                path = draft / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            draft.replace(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror or error}. Name another folder: --into FOLDER"
        ) from error


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a folder beside another one, of ordinary permissions, that is gone at the end unless it was renamed."""
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        inside = draft / folder.name
        inside.mkdir()  # as the user's umask says; that of `mkdtemp` is closed to all others
        yield inside
    finally:
        shutil.rmtree(draft, ignore_errors=True)
