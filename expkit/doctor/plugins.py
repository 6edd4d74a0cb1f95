"""The distributions that bring components: what each brings, how long it takes to import, and what of it is broken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from expkit import registry
from expkit.distributions import NOT_PACKAGED, misfit
from expkit.distributions import plugins as plugins_of_path
from expkit.doctor.children import PADDLE, Answer
from expkit.doctor.examination import Scene
from expkit.errors import PluginError
from expkit.findings import Finding, Level
from expkit.registry import Entry
from expkit.signature import summarize
from expkit.source import package_folder

SLOW = 5.0
"""Seconds of one component's import, beyond Paddle's, that deserve a word: each run and each job of a sweep has it."""
MANY = 4
"""Components with the same trouble that are named."""
_PLURALS = {"loss": "losses", "metrics": "metrics"}


def plugins(scene: Scene) -> Sequence[Finding]:
    """Look at every component, and import it in a child process."""
    child = scene.child(PADDLE)
    loaded = not child.answer("paddle").error
    answers = {
        (step.values["kind"], step.values["name"], step.values["module"], step.values["attribute"]): answer
        for step, answer in child.answers("component")
    }
    owners: dict[str, list[Entry]] = defaultdict(list)
    found: list[Finding] = []
    for kind in registry.KINDS:
        for name, entries in registry.entries(kind).items():
            for entry in entries:
                owners[f"{entry.distribution} {entry.version}"].append(entry)
            if len(entries) > 1:
                found.append(_clash(name, entries))
    found += _metadata()
    for owner, its in owners.items():
        told = {entry: _of(entry, answers) for entry in its} if loaded else {}
        problems = [finding for entry in its for finding in _problems(entry, told.get(entry))]
        found += [_summary(owner, its, told, problems), *_together(problems)]
    for file, why in registry.useless_files(registry.KINDS):
        found.append(Finding("FAIL", "plugins", f"{file} {NOT_PACKAGED}: {why}", "Correct it"))
    if not owners:
        advice = "Install expkit again, so that its entry points are seen: python -m pip install -e . (or: expkit)"
        found.append(Finding("FAIL", "plugins", "nothing announces a component, not even expkit", advice))
    return found


def _metadata() -> Iterator[Finding]:
    """Say what is wrong in the metadata of distributions."""
    for plugin in plugins_of_path():
        owner = f"{plugin.name} {plugin.version}"
        if plugin.trouble:
            advice = f"Install it again, or remove it: python -m pip uninstall {plugin.name}"
            yield Finding("FAIL", "plugins", f"{owner}: {plugin.trouble}", advice)
        for one in registry.astray(plugin):
            yield Finding("FAIL", "plugins", f"{owner}: {one.text}", one.remedy)


def configs(scene: Scene) -> Sequence[Finding]:
    """Say which folders of configs distributions bring, and which of them are not there."""
    del scene
    found = []
    for one in registry.config_dirs():
        owner = f"{one.distribution} {one.version}"
        place = package_folder(one.package)
        if place is None:
            advice = f"Install {one.distribution} again, or tell its author: entry point {one.name} of expkit.conf"
            found.append(
                Finding("FAIL", "configs", f"{owner} announces {one.package}, and there is no such package", advice)
            )
        else:
            found.append(Finding("ok", "configs", f"of {owner}: {place}"))
    return found


def _together(problems: Sequence[Finding]) -> list[Finding]:
    """Say once what is the matter with several components."""
    same: dict[tuple[Level, str], list[Finding]] = defaultdict(list)
    for one in problems:
        same[one.level, one.text].append(one)
    found = []
    for (level, text), ones in same.items():
        names = ", ".join(one.what for one in ones[:MANY]) + (f" and {len(ones) - MANY} more" if ones[MANY:] else "")
        first = ones[0]
        found.append(first if len(ones) == 1 else Finding(level, "plugins", f"{names}: {text}", first.advice))
    return found


def _of(entry: Entry, answers: Mapping[tuple[str, str, str, str], Answer]) -> Answer | None:
    return answers.get((entry.kind.name, entry.name, entry.module, entry.attribute))


def _clash(name: str, entries: Sequence[Entry]) -> Finding:
    owners = " and ".join(f"{one.distribution} {one.version}" for one in entries)
    return Finding(
        "FAIL",
        "plugins",
        f"{entries[0].kind.name} {name!r} is announced by {owners}, so that neither can be chosen",
        registry.way_out(entries),
    )


def _problems(entry: Entry, answer: Answer | None) -> list[Finding]:
    """Return what is wrong with a component: as its source shows, then as its import does."""
    what = f"{entry.kind.name}/{entry.name}"
    look = f"python -m expkit show {what}"
    unfit = misfit(entry.distribution)
    if unfit is not None:
        return [Finding("FAIL", what, f"cannot be used: {unfit.text}", unfit.remedy)]
    try:
        summarize(entry)
    except PluginError as error:
        cause = str(error).partition("cannot be used: ")[2] or str(error)
        told, _, advice = cause.rpartition(". ") if ". " in cause else (cause, "", look)
        if "which is not installed" in told and entry.distribution == "expkit":
            advice = "Mend what is said above of packages and paddle"
        return [Finding("FAIL", what, f"cannot be used: {told}", advice)]
    if answer is None:
        return []
    owner = f"{entry.distribution} {entry.version}"
    if not answer.started:
        return [Finding("warning", what, answer.error, "Mend what is said above, and run this again")]
    if answer.error:
        advice = f"See where: python -m expkit plugins {entry.distribution}. Update {owner}, or uninstall it"
        at = f" ({answer.where})" if answer.where else ""
        return [Finding("FAIL", what, f"cannot be imported: {answer.error}{at}", advice)]
    if answer.seconds > SLOW:
        advice = f"See what takes it: python -X importtime -c 'import {entry.module}'"
        return [Finding("warning", what, f"takes {answer.seconds:.0f} s to import, in every run", advice)]
    return []


def _summary(
    owner: str, entries: Sequence[Entry], answers: Mapping[Entry, Answer | None], problems: Sequence[Finding]
) -> Finding:
    counts = Counter(entry.kind.name for entry in entries)
    brings = ", ".join(f"{count} {name if count == 1 else _plural(name)}" for name, count in counts.items())
    seconds = sum(answer.seconds for answer in answers.values() if answer is not None)
    told = f"{owner}: {brings}"
    told += f"; imported in {seconds:.1f} s" if answers else "; not imported, since Paddle cannot be"
    broken = sum(problem.level == "FAIL" for problem in problems)
    return Finding("ok", "plugins", told + (f"; {broken} broken" if broken else ""))


def _plural(name: str) -> str:
    return _PLURALS.get(name, f"{name}s")
