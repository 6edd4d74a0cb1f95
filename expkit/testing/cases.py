"""The promises of a whole distribution as cases for a test runner, one for each promise of each component."""

from __future__ import annotations

import unittest
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit.api import DataSpec
from expkit.errors import ConfigError, did_you_mean
from expkit.registry import kind_named
from expkit.testing.examination import entries_of, outcome_of, reported
from expkit.testing.promises import Promise, promises
from expkit.testing.report import ConformanceError, Outcome
from expkit.testing.subject import Subject

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One promise of one component.

    Attributes:
        subject: the component.
        promise: which of its promises.
    """

    subject: Subject
    promise: Promise

    def __str__(self) -> str:
        """Return "model/tiny-alone", the name of a test."""
        return f"{self.subject.label}-{self.promise.name}"

    def outcome(self) -> Outcome:
        """Try the promise; a broken one is no error here."""
        return outcome_of(self.subject, self.promise)

    def run(self) -> None:
        """Try the promise, as a test.

        Raises:
            ConformanceError: it is broken, or cannot be tried.
            unittest.SkipTest: it does not apply; pytest takes it for a skip, too.
        """
        found = self.outcome()
        if found.status in ("skipped", "not applicable"):
            raise unittest.SkipTest(f"{found.status}: {found.reason}")
        reported(self.subject, (found,)).require()


def conformance_cases(
    distribution: str,
    *,
    kinds: Iterable[str] | None = None,
    options: Mapping[str, Options | Sequence[Options]] | None = None,
    skip: Mapping[str, str | Mapping[str, str]] | None = None,
    specs: Iterable[DataSpec] | None = None,
) -> list[Case]:
    """Return one case for each promise of each component that a distribution announces.

    Nothing is imported before a case is run.

    Args:
        distribution: its name, as pip has it; it has to be installed.
        kinds: of components, such as ["model"]; all when left out.
        options: by component, such as {"model/tiny": {"hidden": 4}}, to build it with in place of the defaults; a list
            of them is tried one after the other.
        skip: by component, why the whole of it does not apply, or by promise: {"model/tiny": {"alone": "a reason"}}.
        specs: data to try; `trial_specs()` when left out.

    Raises:
        ConfigError: `options` or `skip` name a component or a promise that there is not.
        PluginError: no distribution of that name announces a component; there is no such kind.

    Example:
        >>> @pytest.mark.parametrize("case", conformance_cases("acme-expkit"), ids=str)  # doctest: +SKIP
        ... def test_conforms(case):
        ...     case.run()
    """
    wanted = None if kinds is None else {kind_named(kind).name for kind in kinds}
    found = [e for e in entries_of(distribution) if wanted is None or e.kind.name in wanted]
    options, skip, specs = dict(options or {}), dict(skip or {}), None if specs is None else tuple(specs)
    names = [f"{entry.kind.name}/{entry.name}" for entry in found]
    for what, given in (("options", options), ("skip", skip)):
        _check_components(what, given, names)
    cases = []
    for name, entry in zip(names, found, strict=True):
        reasons = skip.get(name, {})
        if isinstance(reasons, str):
            reasons = {promise.name: reasons for promise in promises(entry.kind.name)}
        variants = options.get(name, {})
        for chosen in [variants] if isinstance(variants, Mapping) else variants:
            subject = Subject(entry.kind.name, None, entry=entry, options=chosen, specs=specs, skip=reasons)
            cases += [Case(subject, promise) for promise in promises(entry.kind.name)]
    return cases


def _check_components(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise ConfigError(
            f"{what}: there is no component {unknown!r}.{did_you_mean(unknown, names)} There are: {', '.join(names)}."
        )


__all__ = ["Case", "ConformanceError", "conformance_cases"]
