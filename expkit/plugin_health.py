"""How the distributions that bring components are: what each brings, whether it can be imported, and what is wrong.

Each is imported in a process of its own, so that one that crashes, hangs or ends its process is a line, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version

from expkit import own_code, registry
from expkit.distributions import NOT_PACKAGED, Plugin, misfit, plugins
from expkit.doctor.children import Answer, Step, answers_of
from expkit.errors import PluginError, did_you_mean
from expkit.processes import usable_cores
from expkit.registry import Entry
from expkit.signature import summarize
from expkit.source import package_folder, source_file

SECONDS = 30.0
"""Longest import of one component."""
PADDLE_SECONDS = 120.0
SLOW = 5.0
_ORDER = ("broken", "clashing", "outdated", "too new", "slow", "ok")
"""From the worst."""


@dataclass(frozen=True)
class Health:
    """How a component or a distribution is.

    Attributes:
        status: "ok", "slow", "broken", "clashing" (its name is announced twice), "outdated" or "too new" (for this
            expkit), or "not loaded" where that was not asked for and nothing else is known.
        error: what is wrong, in one line.
        advice: what to do about it.
        where: "file:line", where that is known.
        trace: how it came there.
    """

    status: str = "ok"
    error: str = ""
    advice: str = ""
    where: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Part:
    """A component.

    Attributes:
        entry: which.
        health: how it is.
        seconds: that its import took beyond that of Paddle; None where it was not imported.
    """

    entry: Entry
    health: Health
    seconds: float | None = None

    @property
    def label(self) -> str:
        """Its kind and name: model/cnn."""
        return f"{self.entry.kind.name}/{self.entry.name}"


@dataclass(frozen=True)
class Report:
    """A distribution.

    Attributes:
        plugin: what its metadata tell.
        location: folder of its code, if it has one.
        health: of the distribution itself, as far as it is not that of a component.
        parts: its components.
    """

    plugin: Plugin
    location: str
    health: Health
    parts: Sequence[Part] = field(default_factory=tuple)

    @property
    def status(self) -> str:
        """The worst of all."""
        own = {self.health.status} if self.health.error or not self.parts else set()
        found = own | {part.health.status for part in self.parts}
        return next((status for status in _ORDER if status in found), "not loaded")

    @property
    def seconds(self) -> float | None:
        """Time that all imports took, beyond that of Paddle; None where nothing was imported."""
        known = [part.seconds for part in self.parts if part.seconds is not None]
        return sum(known) if known else None


def examine_plugins(names: Sequence[str] = (), *, load: bool = True, seconds: float = SECONDS) -> list[Report]:
    """Look at distributions.

    Args:
        names: only these; all when empty. Files in the folder of components count as distributions.
        load: whether their components are imported.
        seconds: longest import of one component.

    Raises:
        PluginError: no distribution of such a name announces anything, and there is no such file.
    """
    chosen = [named(name) for name in names] if names else [*plugins(), *own_files()]
    if not load:
        return [_report(plugin, {}) for plugin in chosen]
    with ThreadPoolExecutor(max(1, len(usable_cores()))) as pool:
        return list(pool.map(lambda plugin: _report(plugin, _loaded(plugin, seconds)), chosen))


def own_files() -> list[Plugin]:
    """Return the files in the folder of components, of which each is told as a distribution is."""
    words = [kind.plural for kind in registry.KINDS]
    found = {one.file: "" for ones in own_code.components(words).values() for one in ones}
    found |= dict(registry.useless_files(registry.KINDS))
    return [Plugin(file, NOT_PACKAGED, trouble=trouble) for file, trouble in sorted(found.items())]


def named(name: str) -> Plugin:
    """Return the distribution of this name, or the file in the folder of components.

    Raises:
        PluginError: there is none.
    """
    known = {plugin.name: plugin for plugin in (*plugins(), *own_files())}
    found = next((plugin for plugin in known.values() if plugin.is_called(name)), None)
    if found is None:
        raise PluginError(
            f"no distribution {name!r} announces anything to expkit.{did_you_mean(name, known)} Known: "
            f"{', '.join(known)}. One that was just written needs its `pip install -e .`. "
            "Of one component it is KIND/NAME, such as model/cnn."
        )
    return found


def entries_of(plugin: Plugin) -> list[Entry]:
    """Return the components of a distribution, in the order of the kinds."""
    named = [entries for kind in registry.KINDS for entries in registry.entries(kind).values()]
    return [entry for entries in named for entry in entries if entry.distribution == plugin.name]


def step_of(name: str, entry: Entry, seconds: float) -> Step:
    """Return a step of a child that is about a component."""
    values = {"kind": entry.kind.name, "name": entry.name, "module": entry.module, "attribute": entry.attribute}
    return Step(name, values, seconds)


def _loaded(plugin: Plugin, seconds: float) -> dict[Entry, Answer]:
    """Import the components that can be, as far as their source and their metadata show."""
    entries = [entry for entry in entries_of(plugin) if _by_source(plugin, entry).status == "ok"]
    steps = [step_of("component", entry, seconds) for entry in entries]
    first = [Step("paddle", seconds=PADDLE_SECONDS)]  # most need it, and its time is not theirs
    return dict(zip(entries, answers_of(steps, first, "expkit.doctor.probe"), strict=True))


def _by_source(plugin: Plugin, entry: Entry) -> Health:
    """Return how a component is, without importing it."""
    unfit = misfit(plugin.name)
    if unfit is not None:
        return Health(unfit.status, unfit.text, unfit.remedy)
    try:
        summarize(entry)
    except PluginError as error:
        cause = str(error).partition("cannot be used: ")[2] or str(error)
        told, _, advice = cause.rpartition(". ") if ". " in cause else (cause, "", "")
        return Health("broken", told, advice)
    rivals = registry.entries(entry.kind)[entry.name]
    if len(rivals) > 1:
        others = " and ".join(f"{one.distribution} {one.version}" for one in rivals if one != entry)
        told = f"the same name is announced by {others}, so that neither can be chosen"
        return Health("clashing", told, registry.way_out(rivals))
    return Health()


def _report(plugin: Plugin, answers: dict[Entry, Answer]) -> Report:
    parts = [_part(plugin, entry, answers.get(entry)) for entry in entries_of(plugin)]
    folders = [package_folder(part.entry.module.partition(".")[0]) or source_file(part.entry.module) for part in parts]
    location = plugin.name if plugin.own else next((str(folder) for folder in folders if folder is not None), "")
    return Report(plugin, location, _itself(plugin, bool(parts)), parts)


def _part(plugin: Plugin, entry: Entry, answer: Answer | None) -> Part:
    known = _by_source(plugin, entry)
    if answer is None:
        return Part(entry, known if known.status != "ok" else Health("not loaded"))
    if not answer.error:
        if known.status == "ok" and answer.seconds > SLOW:
            advice = f"See what takes it: python -X importtime -c 'import {entry.module}'"
            known = Health("slow", f"takes {answer.seconds:.0f} s to import, in every run", advice)
        return Part(entry, known, answer.seconds)
    advice = f"Correct that line (`plugins {plugin.name}` shows all of it)"
    advice += "" if plugin.own else f"; if {plugin.name} {plugin.version} is not yours, update it"
    error = f"importing it fails: {answer.error}"
    return Part(entry, Health("broken", error, advice, answer.where, answer.trace), answer.seconds or None)


def _itself(plugin: Plugin, has_parts: bool) -> Health:
    """Return how a distribution is, apart from its components."""
    if plugin.trouble:
        advice = "Correct it" if plugin.own else f"Install it again, or remove it: pip uninstall {plugin.name}"
        return Health("broken", plugin.trouble, advice)
    unfit = misfit(plugin.name)
    if unfit is not None and not has_parts:
        return Health(unfit.status, unfit.text, unfit.remedy)
    if astray := registry.astray(plugin):
        return Health("broken", "; ".join(one.text for one in astray), ". ".join(one.remedy for one in astray))
    for point in plugin.points:
        if point.group == "expkit.conf" and package_folder(point.value) is None:
            error = f"it announces a folder of configs, {point.value}, and there is no such package"
            return Health("broken", error, f"Install {plugin.name} again, or tell its author")
    return _unmet(plugin) or Health()


def _unmet(plugin: Plugin) -> Health | None:
    """Say which expkit a distribution asks for, where it is not this one."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    here = version("expkit")
    for text in plugin.requires:
        try:
            wanted = Requirement(text)
            if wanted.name.lower() != "expkit" or wanted.specifier.contains(here, prereleases=True):
                continue
            newer = any(
                one.operator != "!="
                and Version(one.version.removesuffix(".*")) > Version(here)
                and not one.operator.startswith("<")
                for one in wanted.specifier
            )
        except (InvalidRequirement, InvalidVersion):
            continue
        error = f"it asks for {wanted.name}{wanted.specifier}, and expkit {here} is installed"
        if newer:
            return Health("too new", error, f"Update expkit, or install an older {plugin.name}")
        return Health("outdated", error, f"Update {plugin.name}, or install an older expkit")
    return None
