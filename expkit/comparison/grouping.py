"""Runs that differ only in their seed, taken together; and what tells the groups apart."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expkit.comparison.run import SEED, Run
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
    def seeds(self) -> int:
        """How many seeds they have."""
        return len({run.params.get(SEED) for run in self.runs})

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
    """Take runs together that differ only in their seed; their order is kept.

    The same config on other data, as a stand-in, is another group. What changes nothing of what is learned, as the
    folder of the runs, tells no groups apart.
    """
    seeds = _seed_options(runs)
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        kept = tuple(sorted((k, v) for k, v in run.params.items() if k not in seeds and not _changes_nothing(k)))
        data = run.tags.get("data.fingerprint")
        key = (run.experiment, data, kept) if kept else (run.id,)
        groups.setdefault(key, []).append(run)
    return [Group(tuple(found)) for found in groups.values()]


def what_varies(groups: Sequence[Group], *, seed: bool) -> tuple[list[str], list[str]]:
    """Return the names of the parameters that tell groups apart: what was typed, and what differs with it.

    Args:
        groups: of runs.
        seed: whether the seed is among them.
    """
    runs = [run for group in groups for run in group.runs]
    left_out = {BROUGHT} | (set() if seed else _seed_options(runs))
    texts = [_without(group.first.params, left_out) for group in groups]
    typed = dict.fromkeys(key for run in runs for key in run.typed)
    return varying(texts, [key for key in typed if any(key in one for one in texts)])


def mixes_code(groups: Sequence[Group]) -> int:
    """Return how many groups hold runs of different code."""
    return sum(len({run.code for run in group.runs}) > 1 for group in groups)


def _without(params: Mapping[str, str], left_out: set[str]) -> dict[str, str]:
    return {key: value for key, value in params.items() if key not in left_out and f"{key}." not in LEFT_OUT}


def _changes_nothing(key: str) -> bool:
    return key == BROUGHT or is_left_out(key) or f"{key}." in LEFT_OUT


def _seed_options(runs: Sequence[Run]) -> set[str]:
    """Return the seed and the options that follow it, as `dataset.seed=${seed}`."""
    if len({run.params.get(SEED) for run in runs}) < 2:
        return {SEED}
    keys = {key for run in runs for key in run.params if key.endswith(SEED)}
    return {SEED} | {
        key for key in keys if all(run.params.get(key, run.params.get(SEED)) == run.params.get(SEED) for run in runs)
    }
