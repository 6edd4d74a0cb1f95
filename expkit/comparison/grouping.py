"""Runs that differ only in their seed, taken together; and what tells the groups apart."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expkit.comparison.run import DONE, SEED, Run
from expkit.identity import LEFT_OUT, is_left_out
from expkit.sweeping.results import varying

BROUGHT = "name"
"""The name of an experiment is an option, too; runs have a column for it."""


@dataclass(frozen=True)
class Measured:
    """What the runs of a group came to.

    Attributes:
        mean: of those that have a finite value.
        deviation: standard deviation of a sample (n - 1); None of a single value.
        count: how many have one.
        of: how many there are.
    """

    mean: float
    deviation: float | None
    count: int
    of: int


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed.

    Attributes:
        runs: at least one.
    """

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """One of them; all have its parameters, but for the seed."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """The words that the names of all of them share: "adam lr=0.1" of "adam lr=0.1 seed=3" and others."""
        others = [set(run.name.split()) for run in self.runs[1:]]
        return " ".join(word for word in self.first.name.split() if all(word in other for other in others))

    @property
    def seeds(self) -> int:
        """How many seeds they have."""
        return len({run.params.get(SEED) for run in self.runs})

    def values(self, key: str) -> list[str]:
        """Return what they have as a parameter, each value once, the smallest first; seeds are what may differ."""
        found = {run.params[key] for run in self.runs if key in run.params}
        return sorted(found, key=lambda text: (0, float(text), "") if _is_number(text) else (1, 0.0, text))

    def shared(self, tag: str) -> str:
        """Return a tag that all of them have with one value; empty where they have not."""
        found = {run.tags.get(tag, "") for run in self.runs}
        return found.pop() if len(found) == 1 else ""

    def measured(self, metric: str) -> Measured | None:
        """Return mean and deviation of a metric; None where no run has a value.

        A run that diverged has none: its group's count tells.
        """
        values = [run.metrics[metric] for run in self.runs if metric in run.metrics]
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return Measured(values[0], None, len(values), len(self.runs)) if values else None
        deviation = statistics.stdev(finite) if len(finite) > 1 else None
        return Measured(statistics.fmean(finite), deviation, len(finite), len(self.runs))

    def statuses(self) -> dict[str, int]:
        """Return how many runs ended how."""
        return dict(Counter(run.status for run in self.runs))

    def seconds(self) -> float | None:
        """Return the mean of how long they took."""
        known = [run.seconds for run in self.runs if run.seconds is not None]
        return statistics.fmean(known) if known else None


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Take finished runs together that differ only in their seed; their order is kept.

    A run that is not finished stays alone: what it came to so far is no sample of what the others came to. The same
    config on other data, as a stand-in, is another group. Options that change nothing of what is learned, as the number
    of workers, tell groups apart only where one seed was run with several of them.
    """
    seeds = _seed_options(runs)
    alike: dict[tuple[object, ...], dict[tuple[object, ...], list[int]]] = {}
    for number, run in enumerate(runs):
        options = [(key, value) for key, value in sorted(run.params.items()) if key not in seeds and key != BROUGHT]
        kept = tuple(option for option in options if not changes_nothing(option[0]))
        rest = tuple(option for option in options if changes_nothing(option[0]))
        alone = run.status != DONE or not kept
        key = (number,) if alone else (run.experiment, run.tags.get("data.fingerprint"), kept)
        alike.setdefault(key, {}).setdefault(rest, []).append(number)
    numbers = []
    for parts in alike.values():
        seeds_of = [{runs[n].params.get(SEED) for n in part} for part in parts.values()]
        together = sum(map(len, seeds_of)) == len(set[str | None]().union(*seeds_of))
        numbers += [sorted(n for part in parts.values() for n in part)] if together else list(parts.values())
    return [Group(tuple(runs[n] for n in part)) for part in sorted(numbers)]


def what_varies(groups: Sequence[Group], *, seed: bool) -> tuple[list[str], list[str]]:
    """Return the names of the parameters that tell groups apart: what was typed, and what differs with it.

    Args:
        groups: of runs.
        seed: whether the seed is among them.
    """
    runs = [run for group in groups for run in group.runs]
    left_out = {BROUGHT} | (set() if seed else _seed_options(runs))
    every = [{key: value for key, value in group.first.params.items() if key not in left_out} for group in groups]
    texts = [{key: value for key, value in one.items() if not changes_nothing(key)} for one in every]
    typed = list(dict.fromkeys(key for run in runs for key in run.typed))
    first, then = varying(texts, [key for key in typed if any(key in one for one in texts)])
    return [*first, *_apart(every, [*first, *then])], then


def _apart(every: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[str]:
    """Return the options that change nothing, but are all that tells some groups apart."""
    looks = [tuple(one.get(name) for name in names) for one in every]
    found: dict[str, None] = {}
    for look, count in Counter(looks).items():
        twins = [one for one, other in zip(every, looks, strict=True) if other == look] if count > 1 else []
        keys = dict.fromkeys(key for one in twins for key in one if changes_nothing(key))
        found.update(dict.fromkeys(key for key in keys if len({one.get(key) for one in twins}) > 1))
    return list(found)


def mixes_code(groups: Sequence[Group]) -> int:
    """Return how many groups hold runs of different code."""
    return sum(len({run.code for run in group.runs}) > 1 for group in groups)


def changes_nothing(key: str) -> bool:
    """Whether a choice or an option changes nothing of what a run learns."""
    return is_left_out(key) or f"{key}." in LEFT_OUT


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _seed_options(runs: Sequence[Run]) -> set[str]:
    """Return the seed and the options that follow it, as `dataset.seed=${seed}`."""
    if len({run.params.get(SEED) for run in runs}) < 2:
        return {SEED}
    keys = {key for run in runs for key in run.params if key.endswith(SEED)}
    return {SEED} | {
        key for key in keys if all(run.params.get(key, run.params.get(SEED)) == run.params.get(SEED) for run in runs)
    }
