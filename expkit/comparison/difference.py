"""What differs between two runs: options, code, data, versions, machine, results; and what is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.comparison.details import Details
from expkit.comparison.direction import higher_is_better
from expkit.comparison.grouping import BROUGHT, changes_nothing
from expkit.record_files import changed_values
from expkit.reproduction.comparing import compare, same
from expkit.reproduction.trees import CodeDifference, code_difference

Pair = tuple[Any, Any]
"""What the first has, and the second; None where one has nothing."""


@dataclass(frozen=True)
class Parts:
    """Where the training of two runs parts.

    Attributes:
        text: in words; empty where they are the same or nothing is known of the steps.
        identical: whether every step and epoch is the same, bit by bit.
    """

    text: str
    identical: bool


@dataclass(frozen=True)
class RunDifference:
    """What differs between two runs; all of these are empty where nothing does.

    Attributes:
        first: one run.
        second: the other.
        options: choices and options that change what is learned.
        others: those that do not, such as where files lie.
        same_options: how many options are the same.
        code: None where it is the same.
        data: name, source, fingerprint.
        versions: of packages, plugins and Python.
        machine: device, processor, system.
        results: metrics of the best weights, best epoch, seconds.
        same_results: names of those that are the same.
        ends: how they ended.
        training: where they part.
    """

    first: Details
    second: Details
    options: Mapping[str, Pair]
    others: Mapping[str, Pair]
    same_options: int
    code: CodeDifference | None
    data: Mapping[str, Pair]
    versions: Mapping[str, Pair]
    machine: Mapping[str, Pair]
    results: Mapping[str, Pair]
    same_results: tuple[str, ...]
    ends: Mapping[str, Pair]
    training: Parts | None


def difference(first: Details, second: Details, here: Path) -> RunDifference:
    """Compare two runs.

    Args:
        first: one run.
        second: the other.
        here: a folder in the repository of their code.
    """
    changed = changed_values(first.run.params, second.run.params)
    changed.pop(BROUGHT, None)
    options = _without_brought({key: pair for key, pair in changed.items() if not changes_nothing(key)})
    environment = changed_values(_flat_environment(first), _flat_environment(second))
    if first.recorded is None or second.recorded is None:  # of one of them only a part is known
        environment = {key: pair for key, pair in environment.items() if None not in pair}
    versions = {key: pair for key, pair in environment.items() if _is_version(key)}
    machine = {k: v for k, v in environment.items() if k not in versions and k.partition(".")[0] != "git"}
    results, same_results = _results(first, second)
    return RunDifference(
        first=first,
        second=second,
        options=options,
        others={key: pair for key, pair in changed.items() if changes_nothing(key)},
        same_options=len({*first.run.params, *second.run.params} - set(changed)),
        code=_code(first, second, here),
        data=_changed(_data(first), _data(second)),
        versions={key.partition(".")[2] or key: pair for key, pair in versions.items()},
        machine=machine,
        results=results,
        same_results=same_results,
        ends=_changed(_end(first), _end(second)),
        training=_training(first, second),
    )


def is_better(found: RunDifference, name: str) -> bool | None:
    """Return whether the second run has the better value of a metric; None where there is no better."""
    before, after = found.results[name]
    higher = higher_is_better(name, [found.first.run, found.second.run]) if "/" in name else None
    if higher is None or before is None or after is None or math.isnan(before) or math.isnan(after):
        return None
    return bool((after > before) == higher)


def _without_brought(changed: dict[str, Pair]) -> dict[str, Pair]:
    """Leave out the options that one has only because another component was chosen."""
    chosen = {key for key in changed if "." not in key}
    return {
        key: pair
        for key, pair in changed.items()
        if None not in pair or "." not in key or key.partition(".")[0] not in chosen
    }


def _flat_environment(details: Details) -> Mapping[str, Any]:
    return {key: value for key, value in details.environment.items() if key != "executable" and value is not None}


def _is_version(key: str) -> bool:
    return key == "python" or key.partition(".")[0] in ("versions", "plugins", "expkit")


def _code(first: Details, second: Details, here: Path) -> CodeDifference | None:
    if first.recorded is not None and second.recorded is not None:
        return code_difference(first.recorded, second.recorded, here)
    codes = [details.run.code or "not recorded" for details in (first, second)]
    why = "the changes of one of them are not here"
    return None if codes[0] == codes[1] else CodeDifference(f"commit {codes[0]}", f"commit {codes[1]}", why_not=why)


def _data(details: Details) -> dict[str, Any]:
    data, tags = details.record.get("data", {}), details.run.tags
    source = data.get("source", {})
    return {
        "data": data.get("name") or tags.get("data.name"),
        "fingerprint": str(data.get("fingerprint") or tags.get("data.fingerprint") or "")[:12] or None,
        "source": f"{source['kind']}: {source['location']}" if "kind" in source else tags.get("data.source"),
        "stand-in for": source.get("stand_in_for") or tags.get("data.stand_in_for"),
    }


def _results(first: Details, second: Details) -> tuple[dict[str, Pair], tuple[str, ...]]:
    before, after = first.result, second.result
    names = dict.fromkeys((*before, *after))
    differing = {n: (before.get(n), after.get(n)) for n in names if not same(before.get(n), after.get(n))}
    if first.best_epoch != second.best_epoch:
        differing["best epoch"] = (first.best_epoch, second.best_epoch)
    return differing, tuple(name for name in names if name not in differing)


def _end(details: Details) -> dict[str, Any]:
    run, record = details.run, details.record
    return {
        "status": run.status,
        "reason": (run.reason or str(record.get("stopped") or "")).partition("\n")[0] or None,
        "epochs": record.get("epochs"),
    }


def _training(first: Details, second: Details) -> Parts | None:
    """Compare every step and epoch, where both are here."""
    if first.recorded is None or second.recorded is None or not (first.recorded.steps and second.recorded.steps):
        return None
    found = compare(first.recorded, second.recorded)
    if found.first is None:
        return Parts("", found.identical or not any(found.differing.values()))
    place, metric = found.first.place, found.first.metric
    then, now = (_shown(value) for value in (found.first.then, found.first.now))
    kind = ", by rounding" if found.first.is_rounding else ""
    return Parts(f"parts at {place}{kind}: {metric} {then} -> {now}", False)


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Pair]:
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}
