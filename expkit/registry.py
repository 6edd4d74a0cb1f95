"""Finds components by their entry points; looks at metadata only and imports none of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from expkit import distributions, own_code
from expkit.distributions import API, NOT_PACKAGED, Plugin, misfit, plugins
from expkit.errors import PluginError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
        name: singular, for people: "model".
        config_group: Hydra's group: "model", or the plural where several can be chosen at once ("metrics").
        entry_point_group: "expkit.models".
        supplied: parameter names that the framework passes at run time and that are therefore no options.
        many: whether several can be chosen at once: `metrics=[accuracy,mse]`.
    """

    name: str
    config_group: str
    entry_point_group: str
    supplied: frozenset[str] = frozenset()
    many: bool = False

    @property
    def plural(self) -> str:
        """How several are called: "models"; the name of the file of a user's own ones, too."""
        return self.entry_point_group.removeprefix("expkit.")


_SPEC = frozenset({"spec"})
_SCHEDULE = frozenset({"learning_rate", "steps_per_epoch", "epochs", "higher_is_better"})
KINDS: tuple[Kind, ...] = (
    Kind("dataset", "dataset", "expkit.datasets"),
    Kind("model", "model", "expkit.models", _SPEC),
    Kind("loss", "loss", "expkit.losses", _SPEC),
    Kind("optimizer", "optimizer", "expkit.optimizers", frozenset({"parameters"})),
    Kind("schedule", "schedule", "expkit.schedules", _SCHEDULE),
    Kind("regularizer", "regularizer", "expkit.regularizers"),
    Kind("metric", "metrics", "expkit.metrics", _SPEC, many=True),
    Kind("transform", "transforms", "expkit.transforms", _SPEC, many=True),
    Kind("learner", "learner", "expkit.learners", frozenset({"parts"})),
    Kind("callback", "callbacks", "expkit.callbacks", _SPEC, many=True),
)

GROUPS = (*(kind.entry_point_group for kind in KINDS), "expkit.conf", API)
"""Of entry points, that are read."""


@dataclass(frozen=True)
class Entry:
    """One component as its distribution announces it.

    Attributes:
        kind: its kind.
        name: what the user types.
        target: "module:attribute".
        distribution: name of the distribution that brings it.
        version: of that distribution.
    """

    kind: Kind
    name: str
    target: str
    distribution: str
    version: str

    @property
    def own(self) -> bool:
        """Whether it is in a file of the user's own, which `distribution` names, and not packaged."""
        return self.version == NOT_PACKAGED

    @property
    def module(self) -> str:
        """Module part of the target."""
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        """Attribute part of the target."""
        return self.target.partition(":")[2]

    @property
    def python_path(self) -> str:
        """Target in the form of Hydra's `_target_`: "module.attribute"."""
        return f"{self.module}.{self.attribute}"


def kind_named(word: str) -> Kind:
    """Return the kind that a user means by "model", "models" or "expkit.models".

    Raises:
        PluginError: there is no such kind.
    """
    for kind in KINDS:
        if word in (kind.name, kind.plural, kind.config_group, kind.entry_point_group):
            return kind
    names = [k.name for k in KINDS]
    raise PluginError(f"no kind of component is called {word!r}.{did_you_mean(word, names)} Kinds: {', '.join(names)}")


def entries(kind: Kind) -> dict[str, tuple[Entry, ...]]:
    """Return all announced components of a kind by name, sorted; more than one entry under a name is a clash."""
    packaged = _table().get(kind.entry_point_group, {})
    own = own_code.components((kind.plural,)).get(kind.plural, [])
    if not own:
        return packaged
    own_code.reach()
    found = dict(packaged)
    for one in own:
        entry = Entry(kind, one.name, f"{one.module}:{one.attribute}", one.file, NOT_PACKAGED)
        found[one.name] = (*found.get(one.name, ()), entry)
    return dict(sorted(found.items()))


def by_path(kind: Kind, path: str) -> Entry | None:
    """Return the component that `package.module.Class` names, of a module of the user's own; None where it is none.

    Args:
        kind: that it is taken for.
        path: as typed, in `model=my_models.TinyNet` or in a `_target_`.
    """
    module, _, attribute = path.rpartition(".")
    file = own_code.own_file(module) if module else None
    return None if file is None else Entry(kind, path, f"{module}:{attribute}", str(_short(file)), NOT_PACKAGED)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def find(kind: Kind, name: str) -> Entry:
    """Return the one component of that name.

    Raises:
        PluginError: nobody announces it, two distributions do, or it was made for another plugin API.
    """
    found = entries(kind).get(name, ())
    if not found:
        known = list(entries(kind))
        raise PluginError(
            f"no {kind.name} is called {name!r}.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}. "
            "A plugin that was just written needs its `pip install -e .` again, so that its entry points are seen."
            + unreadable(kind)
            + announced_in_vain(name)
        )
    if len(found) > 1:
        owners = " and ".join(f"{e.distribution} {e.version} ({e.target})" for e in found)
        raise PluginError(f"{kind.name} {name!r} is announced by {owners}. {way_out(found)}.")
    unfit = misfit(found[0].distribution)
    if unfit is not None:
        owner = f"{found[0].distribution} {found[0].version}"
        raise PluginError(f"{kind.name} {name!r} of {owner} cannot be used: {unfit.text}. {unfit.remedy}")
    return found[0]


def way_out(rivals: Sequence[Entry]) -> str:
    """Say what to do about components of one name, without a full stop."""
    own = next((one for one in rivals if one.own), None)
    if own is not None:
        return f"Rename {own.attribute} in {own.distribution}"
    other = max(rivals, key=lambda one: one.distribution != "expkit")
    return f"Have one of the entry points renamed, or uninstall one: python -m pip uninstall {other.distribution}"


def unreadable(kind: Kind) -> str:
    """Name the user's own files of a kind that are of no use, as a sentence to go on with; empty where all are."""
    return "".join(f" {file}: {why}." for file, why in useless_files((kind,)))


def useless_files(kinds: Iterable[Kind]) -> Iterator[tuple[str, str]]:
    """Yield the files in the folder of components that are no Python, or not called as a kind is, with the reason."""
    for kind in kinds:
        for file, why in own_code.broken_files((kind.plural,)):
            yield file, f"it cannot be read: {why}"
        if any((root / own_code.PLUGINS / f"{kind.name}.py").is_file() for root in own_code.roots()):
            yield f"./{own_code.PLUGINS}/{kind.name}.py", f"nobody reads it; the file has to be called {kind.plural}.py"


def announced_in_vain(name: str) -> str:
    """Name the distribution that announces this in a group that nobody reads; a sentence to go on with, or nothing."""
    for plugin in plugins():
        for one in astray(plugin):
            if name in one.names:
                return f" {plugin.name} {plugin.version} is wrong: {one.text}. {one.remedy}."
    return ""


def owner_of(kind: str, target: str) -> str:
    """Say whose a component is, for messages: " of acme 1.2.0 (acme.beep.Beep)".

    Args:
        kind: name of its kind.
        target: "package.module.Class".
    """
    for same in entries(kind_named(kind)).values():
        for entry in same:
            if entry.python_path == target:
                return f" of {entry.distribution} {entry.version} ({target})"
    return f" ({target})"


@dataclass(frozen=True)
class Astray:
    """Entry points of a distribution in a group that nobody reads.

    Attributes:
        group: as it is written there.
        names: of the entry points.
        right: the group that is meant, as it seems; empty where none is like it.
    """

    group: str
    names: tuple[str, ...]
    right: str

    @property
    def text(self) -> str:
        """What is wrong, without a full stop."""
        names = " and ".join(map(repr, self.names))
        return f"it announces {names} in the group {self.group!r}, which nobody reads"

    @property
    def remedy(self) -> str:
        """What to do, without a full stop."""
        if not self.right:
            return f"The groups are {', '.join(GROUPS)}"
        return f'Write [project.entry-points."{self.right}"] in its pyproject.toml, and pip install -e it again'


def astray(plugin: Plugin) -> list[Astray]:
    """Return what a distribution announces in vain: in a group that is like one of ours, or is all that it has."""
    groups: dict[str, list[str]] = {}
    for point in plugin.points:
        groups.setdefault(point.group, []).append(point.name)
    others = [group for group in groups if group not in GROUPS]
    found = [Astray(group, tuple(groups[group]), _nearest(group)) for group in others]
    return [one for one in found if one.right or len(others) == len(groups)]


def _nearest(group: str) -> str:
    words = {known.removeprefix("expkit."): known for known in GROUPS}
    near = difflib.get_close_matches(re.sub(r"^expkit\W?_?", "", group.lower()), words, n=1, cutoff=0.72)
    return words[near[0]] if near else ""


@dataclass(frozen=True, order=True)
class ConfigDir:
    """A folder of Hydra configs as its distribution announces it.

    Attributes:
        name: of the entry point; the order of names is the order in which Hydra looks.
        package: whose folder it is.
        distribution: name of the distribution that brings it.
        version: of that distribution.
    """

    name: str
    package: str
    distribution: str
    version: str


def config_dirs() -> list[ConfigDir]:
    """Return the Hydra config folders that distributions bring (group `expkit.conf`)."""
    return sorted(
        ConfigDir(point.name, point.value, plugin.name, plugin.version)
        for plugin in plugins()
        for point in plugin.points
        if point.group == "expkit.conf"
    )


def distributions_of_plugins() -> dict[str, str]:
    """Return name and version of each distribution that announces something to expkit; expkit itself is one."""
    return {plugin.name: plugin.version for plugin in plugins()}


def clear_cache() -> None:
    """Look at the installed distributions anew."""
    _table.cache_clear()
    distributions.clear_cache()


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, tuple[Entry, ...]]]:
    kinds = {k.entry_point_group: k for k in KINDS}
    table: dict[str, dict[str, tuple[Entry, ...]]] = {}
    for plugin in plugins():
        for point in plugin.points:
            kind = kinds.get(point.group)
            if kind is not None:
                entry = Entry(kind, point.name, point.value, plugin.name, plugin.version)
                group = table.setdefault(point.group, {})
                group[point.name] = (*group.get(point.name, ()), entry)
    return {group: dict(sorted(names.items())) for group, names in table.items()}
