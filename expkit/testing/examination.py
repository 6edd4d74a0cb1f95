"""Tries every promise of a component and notes what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from expkit.api import DataSpec
from expkit.errors import PluginError, did_you_mean
from expkit.paddle_import import import_paddle
from expkit.registry import KINDS, Entry, distributions_of_plugins, entries
from expkit.seeding import StepRandom, seed_everything
from expkit.testing.promises import Promise, promises
from expkit.testing.report import Broken, NotApplicable, Outcome, Problem, Report, Status, together
from expkit.testing.subject import NotTried, Subject


def examine(
    kind: str,
    component: Callable[..., Any],
    /,
    *,
    specs: Iterable[DataSpec] | None = None,
    skip: Mapping[str, str] | None = None,
    **options: Any,
) -> Report:
    """Try every promise of a component, and return what became of each; a broken one is no error here.

    The global generators are as they were before when it returns.

    Args:
        kind: such as "model".
        component: its class or function; options that are called as a parameter of this function, such as `specs`,
            are bound to it with `functools.partial`.
        specs: data to try; `trial_specs()` when left out.
        skip: promises that do not apply, each with the reason.
        **options: to build it with, in place of its defaults.

    Raises:
        ConfigError: `skip` names no promise of the kind, or gives no reason.
        PluginError: there is no such kind.
    """
    return report_of(Subject(kind, component, options=options, specs=specs, skip=skip))


def examine_entry(
    entry: Entry,
    *,
    specs: Iterable[DataSpec] | None = None,
    skip: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """Try every promise of a component that a distribution announces; see `examine`.

    Args:
        entry: what announces it; to import it is the first promise.
        specs: data to try.
        skip: promises that do not apply, each with the reason.
        options: to build it with, in place of its defaults.

    Raises:
        ConfigError: `skip` names no promise of the kind, or gives no reason.
    """
    return report_of(Subject(entry.kind.name, None, entry=entry, options=options, specs=specs, skip=skip))


def entries_of(distribution: str) -> tuple[Entry, ...]:
    """Return the components that a distribution announces, in the order of the kinds.

    Args:
        distribution: its name, as pip has it.

    Raises:
        PluginError: no distribution of that name announces anything.
    """
    found = tuple(e for kind in KINDS for named in entries(kind).values() for e in named if _is(e, distribution))
    if not found:
        known = sorted(distributions_of_plugins())
        raise PluginError(
            f"no distribution {distribution!r} announces a component.{did_you_mean(distribution, known)} Known: "
            f"{', '.join(known) or 'none'}. One that was just written needs its `pip install -e .`."
        )
    return found


def _is(entry: Entry, distribution: str) -> bool:
    return _plain(entry.distribution) == _plain(distribution)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def report_of(subject: Subject) -> Report:
    """Try every promise of a subject."""
    outcomes = tuple(outcome_of(subject, promise) for promise in promises(subject.kind.name))
    return reported(subject, outcomes)


def reported(subject: Subject, outcomes: tuple[Outcome, ...]) -> Report:
    """Return outcomes with the facts of their subject."""
    return Report(subject.kind.name, subject.name, subject.owner, subject.where, dict(subject.options), outcomes)


def outcome_of(subject: Subject, promise: Promise) -> Outcome:
    """Try one promise of a subject; the global generators are left as they were."""
    import_paddle()
    before, started = StepRandom().note(), time.perf_counter()
    try:
        status, problems, reason = _tried(subject, promise)
    finally:
        StepRandom.put_back(before)
    return Outcome(promise, status, problems, reason, time.perf_counter() - started)


def _tried(subject: Subject, promise: Promise) -> tuple[Status, tuple[Problem, ...], str]:
    lacking = _lacking(subject, promise)
    if promise.name in subject.skip:
        return "skipped", (), subject.skip[promise.name]
    if lacking:
        return "not tried", (), lacking
    if subject.given is not None and promise.needs != "build":
        return "not applicable", (), "what it has made was given, not the component"
    problems: list[Problem] = []
    idle: list[str] = []
    kept = 0
    try:
        for arguments, mark in _trials(subject, promise):
            try:
                found = _problem(subject, promise, arguments)
            except NotApplicable as reason:
                idle.append(str(reason))
                continue
            kept += found is None
            problems += [] if found is None else [mark(found)]
    except NotTried as reason:
        return "not tried", (), str(reason)
    if problems:
        return "broken", together(problems, trials=kept + len(problems)), ""
    return ("not applicable", (), idle[0]) if idle and not kept else ("kept", (), "")


def _problem(subject: Subject, promise: Promise, arguments: tuple[Any, ...]) -> Problem | None:
    """Return how a promise is broken in one trial; None where it is kept."""
    seed_everything(0)
    try:
        promise.check(subject, *arguments)
    except Broken as found:
        return found.problem
    except (NotApplicable, NotTried):
        raise
    except Exception as error:  # noqa: BLE001 - of a plugin's code
        return subject.problem(error)
    return None


def _lacking(subject: Subject, promise: Promise) -> str:
    """Return what has to be mended before a promise can be tried; empty where nothing has."""
    steps: list[tuple[str, Callable[[], Any]]] = []
    if promise.needs != "nothing":
        steps.append(("loads", lambda: subject.component))
    if promise.needs == "build" and promise.name != "builds":
        steps.append(("builds", subject.fitting))
    for name, step in steps:
        seed_everything(0)
        try:
            step()
        except NotTried as reason:
            return str(reason)
        except Exception:  # noqa: BLE001 - of a plugin's code; that other promise tells of it
            return f"the promise {name!r} is broken"
    return ""


def _trials(subject: Subject, promise: Promise) -> Iterator[tuple[tuple[Any, ...], Callable[[Problem], Problem]]]:
    """Yield what a check is to be called with, and what marks a problem as found there."""
    if promise.each == "spec":
        for spec in subject.fitting():
            yield (spec,), partial(replace, specs=(spec.name,))
    elif promise.each == "option":
        for name in subject.parameters:
            yield (name,), partial(replace, option=name)
    else:
        yield (), replace
