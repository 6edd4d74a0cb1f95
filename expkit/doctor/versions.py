"""Python, expkit and the packages that it needs: which they are, and whether they are those that it was made for."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError
from importlib.metadata import distribution as find_distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from expkit import registry
from expkit.doctor.examination import Scene
from expkit.doctor.paddle_build import builds
from expkit.findings import Finding
from expkit.provenance import git, top_folder
from expkit.source import package_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "expkit"
PADDLE = "paddlepaddle"
MANY = 3
"""Packages that are missing, beyond which all is better installed anew."""
_NOT_FOR_USERS = ("dev",)


def python(scene: Scene) -> Sequence[Finding]:
    """Say which Python this is, and whether expkit is made for it."""
    del scene
    found = platform.python_version()
    told = f"{found} ({platform.python_implementation()}), {sys.executable}"
    installed = _distribution()
    wanted = "" if installed is None else installed.metadata["Requires-Python"] or ""
    if not wanted or find_spec("packaging") is None:  # other checks say what is missing
        return [Finding("ok", "Python", told)]
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(wanted).contains(found, prereleases=True):
        return [Finding("ok", "Python", told)]
    advice = f"Make an environment with a Python that fits, and install expkit there: it needs {wanted}"
    return [Finding("FAIL", "Python", told, advice)]


def own(scene: Scene) -> Sequence[Finding]:
    """Say which expkit this is, and whether it is the one that is installed."""
    del scene
    package = Path(__file__).resolve().parents[1]
    distribution = _distribution()
    if distribution is None:
        told = f"imported from {package.parent}{_commit(package)}, but not installed, so that no component is known"
        return [Finding("FAIL", NAME, told, f"python -m pip install -e {package.parent}")]
    told = f"{distribution.version}, {package.parent}{_commit(package)}"
    found = [Finding("ok", NAME, told)]
    installed = _installed_at(distribution)
    if installed is not None and installed != package.parent:
        found = [
            Finding(
                "warning",
                NAME,
                f"{told}; the one that is installed is in {installed}, and its list of components is used",
                f"Use the one in {installed} (unset PYTHONPATH, or run elsewhere), or install this one: python -m pip "
                f"install -e {package.parent}",
            )
        ]
    return [*found, *_components_elsewhere(package.parent)]


def _commit(package: Path) -> str:
    """Return the commit of a checkout in words; of a package that is installed, nothing."""
    if top_folder(package) != package.parent:
        return ""
    commit = (git(package, "rev-parse", "--short", "HEAD") or "").strip()
    changed = (git(package, "status", "--porcelain", "--untracked-files=no") or "").strip()
    return f", commit {commit}{' with changes' if changed else ''}" if commit else ""


def _installed_at(found: Distribution) -> Path | None:
    """Return the folder that the installed package is in; of one that is installed from a checkout, the checkout."""
    text = found.read_text("direct_url.json")
    facts = json.loads(text) if text else {}
    if facts.get("dir_info", {}).get("editable"):
        return Path(url2pathname(unquote(urlsplit(facts["url"]).path))).resolve()
    folder = Path(str(found.locate_file(NAME))).resolve()
    return folder.parent if folder.is_dir() else None


def _components_elsewhere(root: Path) -> Iterator[Finding]:
    """Say that expkit's own components are those of another copy: half of a PYTHONPATH leads to one copy each."""
    packages = {
        entry.module.partition(".")[0]
        for kind in registry.KINDS
        for found in registry.entries(kind).values()
        for entry in found
        if entry.distribution == NAME
    }
    folders = {folder.parent for one in packages if (folder := package_folder(one)) is not None}
    strange = sorted(str(folder) for folder in folders if not folder.resolve().is_relative_to(root))
    if strange:
        yield Finding(
            "warning",
            NAME,
            f"its components are those of another copy, in {', '.join(strange)}",
            f"Let both come from one place: python -m pip install -e {root}, and unset PYTHONPATH",
        )


def packages(scene: Scene) -> Sequence[Finding]:
    """Say which packages expkit needs are there, and which of them it was not made for."""
    del scene
    try:
        found = _about("packages", _requirements(""), required=True)
    except ImportError:  # packaging is not there either, which reads the bounds
        found = []
    return [*found, *_missing()]


def extras(scene: Scene) -> Sequence[Finding]:
    """Say which extras are installed."""
    del scene
    distribution = _distribution()
    if distribution is None or find_spec("packaging") is None:
        return []  # other checks say what is missing
    names = [one for one in distribution.metadata.get_all("Provides-Extra") or [] if one not in _NOT_FOR_USERS]
    told, lacking, found = [], [], []
    for name in names:
        wanted = _requirements(name)
        missing = [one.name for one in wanted if _version(one.name) is None]
        if not missing:
            told.append(name)
            found += [one for one in _about("extras", wanted, required=False) if one.level != "ok"]
        else:
            lacking.append(name)
    more = f"not installed: {', '.join(lacking)} (python -m pip install 'expkit[{lacking[0]}]')" if lacking else ""
    return [Finding("ok", "extras", "; ".join(part for part in (", ".join(told), more) if part) or "none"), *found]


def _about(what: str, wanted: Sequence[Requirement], *, required: bool) -> list[Finding]:
    good, found = [], []
    for one in wanted:
        version = _version(one.name)
        if version is None:
            continue
        problem = _problem(one, version)
        if not problem:
            good.append(f"{one.name} {version}")
            continue
        level, told = problem
        advice = f"python -m pip install '{one.name}{one.specifier}'"
        found.append(Finding("FAIL" if required and level == "FAIL" else "warning", one.name, told, advice))
    return [*([Finding("ok", what, ", ".join(good))] if good else []), *found]


def _problem(wanted: Requirement, version: str) -> tuple[str, str] | None:
    """Return level and text of what is wrong with a package."""
    from packaging.version import InvalidVersion, Version

    try:
        found = Version(version)
    except InvalidVersion:
        return "warning", f"{version} is no version; needed is {wanted.specifier}"
    if wanted.specifier.contains(found, prereleases=True):
        return None
    if any(one.operator in (">=", ">", "~=", "==") and found < Version(one.version) for one in wanted.specifier):
        return "FAIL", f"{version} is too old; needed is {wanted.specifier}"
    return "warning", f"{version} is newer than what expkit was tried with, {wanted.specifier}"


def _requirements(extra: str) -> list[Requirement]:
    """Return what an extra needs beyond expkit's own needs; these with "".

    Raises:
        ImportError: the package that reads them is not installed.
    """
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in _requires()]
    if not extra:
        return [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        one
        for one in every
        if one.marker is not None and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    ]


def _missing() -> Iterator[Finding]:
    """Say what is not installed at all, of what expkit needs; of Paddle a check of its own tells."""
    wanted = {
        re.split(r"[^\w.-]", text)[0]: text.partition(";")[0].strip() for text in _requires() if not _is_extra(text)
    }
    missing = [name for name in wanted if name != PADDLE and _version(name) is None]
    if not missing:
        return
    install = " ".join(f"'{wanted[name]}'" for name in missing)
    if len(missing) > MANY:
        root = Path(__file__).resolve().parents[2]
        install = f"-e {root}" if (root / "pyproject.toml").is_file() else f"--force-reinstall {NAME}"
    told = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
    yield Finding("FAIL", "packages", told, f"python -m pip install {install}")


def _is_extra(text: str) -> bool:
    return "extra ==" in text


def _requires() -> list[str]:
    distribution = _distribution()
    return [] if distribution is None else list(distribution.requires or [])


def _version(name: str) -> str | None:
    """Return the version of a package; of Paddle that of whichever build is there."""
    if name == PADDLE:
        return next(iter(builds().values()), None)
    try:
        return find_distribution(name).version
    except PackageNotFoundError:
        return None


def _distribution() -> Distribution | None:
    try:
        return find_distribution(NAME)
    except PackageNotFoundError:
        return None
