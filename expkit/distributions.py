"""The distributions that announce something to expkit, as their metadata tell; nothing of them is imported.

A distribution whose metadata are damaged is told as such, and hides nobody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions

from expkit.api_version import VERSION

API = "expkit.api"
"""Group in which a distribution names the plugin API that it was written for: `"1.3" = "acme"`."""
NOT_PACKAGED = "(not packaged)"
"""In the place of the version of what is in no distribution."""
_OURS = re.compile(r"expkit(\..*|[_:/ -]\w*)?", re.IGNORECASE)
"""Groups that are meant for expkit, also where they are not written as ours are: "expkit_models"."""


@dataclass(frozen=True)
class Plugin:
    """A distribution that announces something to expkit; expkit itself is one.

    Attributes:
        name: of the distribution.
        version: of it.
        points: its entry points in groups of expkit, or of what is taken for one.
        requires: its dependencies, as its metadata state them.
        summary: one line of its metadata.
        trouble: why its metadata could not be read; empty where they could.
    """

    name: str
    version: str
    points: tuple[EntryPoint, ...] = ()
    requires: tuple[str, ...] = ()
    summary: str = ""
    trouble: str = ""

    @property
    def own(self) -> bool:
        """Whether it is none, but a file of the user's own."""
        return self.version == NOT_PACKAGED

    @property
    def api(self) -> list[str]:
        """Versions of the plugin API that it says it was made for."""
        return sorted(point.name for point in self.points if point.group == API)

    def is_called(self, name: str) -> bool:
        """Say whether a name is this one's, however it is written: "my_plugin" is "My-Plugin"."""
        return _normal(name) == _normal(self.name)


def plugins() -> list[Plugin]:
    """Return each distribution that announces something to expkit, in the order of Python's path."""
    return list(_plugins().values())


def plugin(name: str) -> Plugin:
    """Return a distribution by name; one without entry points where it announces nothing."""
    return _plugins().get(_normal(name)) or Plugin(name, "?")


def installed(name: str) -> str | None:
    """Return name and version of a distribution of this name, of whatever use it is; None where there is none."""
    try:
        found = distribution(name)
        return f"{found.metadata['Name']} {found.version}"
    except PackageNotFoundError:
        return None


def clear_cache() -> None:
    """Look at the installed distributions anew."""
    _plugins.cache_clear()


@dataclass(frozen=True)
class Misfit:
    """Why the components of a distribution do not go with this expkit.

    Attributes:
        status: "outdated", "too new", or "broken" where what it says of itself cannot be read.
        text: what does not fit, without a full stop.
        remedy: what to do, in a sentence.
    """

    status: str
    text: str
    remedy: str


def misfit(distribution: str) -> Misfit | None:
    """Say why the components of a distribution do not go with this expkit's plugin API; None where nothing is said.

    An API of the same first number and at least the second one has all that was asked for.
    """
    stated = plugin(distribution).api
    if not stated:
        return None
    wanted = [_numbers(version) for version in stated]
    here = _numbers(VERSION) or (0, 0)
    if any(one is not None and one[0] == here[0] and one[1] <= here[1] for one in wanted):
        return None
    said = " or ".join(stated)
    if None in wanted:
        text = f"it says that it was made for plugin API {said!r}, which is no version such as {VERSION}"
        return Misfit(
            "broken", text, f"Correct the entry point in the group {API} of {distribution}, or tell its author."
        )
    text = f"it was made for plugin API {said}, and this expkit has {VERSION}"
    if max(one for one in wanted if one is not None) > here:
        return Misfit("too new", text, f"Update expkit, or install an older {distribution}.")
    return Misfit("outdated", text, f"Update {distribution}, or install an older expkit.")


def _numbers(version: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


@lru_cache(maxsize=1)
def _plugins() -> dict[str, Plugin]:
    """Each distribution that announces something to expkit, once, by its normalised name.

    A checkout beside its own .dist-info would else clash with itself. Names are asked only of those few, since
    parsing the metadata of every installed distribution takes 0.1 s.
    """
    seen: dict[str, Plugin] = {}
    for dist in distributions():
        points, trouble = _points(dist)
        if points or trouble:
            plugin = _described(dist, points, trouble)
            seen.setdefault(_normal(plugin.name), plugin)
    return seen


def _points(dist: Distribution) -> tuple[tuple[EntryPoint, ...], str]:
    """Return a distribution's entry points in our groups, or why they cannot be read: it must not take others down."""
    try:
        return tuple(point for point in dist.entry_points if _OURS.fullmatch(point.group)), ""
    except Exception:  # noqa: BLE001 - importlib.metadata raises whatever a damaged file leads it to
        pass
    try:
        text = dist.read_text("entry_points.txt") or ""
    except (OSError, ValueError) as error:
        return (), f"its entry_points.txt cannot be read ({error})"
    if "[expkit." not in text:
        return (), ""  # it is not ours to complain of
    lines = enumerate(text.splitlines(), start=1)
    wrong = next(
        ((n, line) for n, line in lines if line.strip() and line.strip()[0] not in "[#" and "=" not in line), None
    )
    where = (
        "is damaged"
        if wrong is None
        else f"is damaged in line {wrong[0]}: {wrong[1].strip()!r} is not NAME = MODULE:ATTRIBUTE"
    )
    return (), f"its entry_points.txt {where}"


def _described(dist: Distribution, points: tuple[EntryPoint, ...], trouble: str) -> Plugin:
    told: dict[str, str] = {}
    requires: tuple[str, ...] = ()
    try:
        about = dist.metadata
        told = {field: about[field] for field in ("Name", "Version", "Summary") if field in about}
        requires = tuple(dist.requires or ())
    except Exception as error:  # noqa: BLE001 - likewise
        trouble = trouble or f"its METADATA cannot be read ({type(error).__name__}: {error})"
    folder = str(getattr(dist, "_path", "")).replace("\\", "/").rpartition("/")[2]
    called, _, numbered = folder.rpartition(".")[0].partition("-")
    missing = " and no ".join(field.lower() for field in ("Name", "Version") if not told.get(field))
    trouble = trouble or (f"its METADATA has no {missing}" if missing else "")
    name, version = told.get("Name") or called or "(no name)", told.get("Version") or numbered or "?"
    return Plugin(name, version, points, requires, told.get("Summary", ""), trouble)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
