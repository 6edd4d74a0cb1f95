"""Which of the groups come first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from expkit.comparison.direction import higher_is_better
from expkit.comparison.filters import full_name
from expkit.comparison.grouping import Group
from expkit.comparison.run import Run

STARTED, SECONDS = "started", "seconds"
_WORDS = (STARTED, SECONDS, "name", "status", "experiment")


@dataclass(frozen=True)
class Order:
    """By what groups are sorted.

    Attributes:
        key: a metric, a parameter, or one of "started", "seconds", "name", "status", "experiment".
        descending: the greatest first.
        words: for people: "the best valid/best_accuracy first".
    """

    key: str
    descending: bool
    words: str


def choose_order(runs: Sequence[Run], key: str | None, descending: bool | None) -> Order:
    """Return by what runs are sorted.

    Args:
        runs: that are shown.
        key: what the user wants; None means the monitored metric where all share one, else the time of the start.
        descending: the greatest first; None means that the best is first.

    Raises:
        ConfigError: no run has such a metric or parameter.
    """
    if key is None:
        mains = {(run.main_metric, run.monitor) for run in runs if run.main_metric}
        only = next(iter(mains))[0] if len(mains) == 1 else ""
        key = only if any(only in run.metrics for run in runs) else STARTED
    if key not in _WORDS:
        key = full_name(key, runs, f"--sort {key}")
    natural, words = _natural(runs, key)
    if descending is None or descending == natural:
        return Order(key, natural, words)
    return Order(key, descending, f"by {key}, the {'greatest' if descending else 'smallest'} first")


def ordered(groups: Sequence[Group], order: Order) -> list[Group]:
    """Sort groups; those without a value come last, the newest first among equals."""
    numbers = {id(group): _number(group, order.key) for group in groups}
    known = [group for group in groups if numbers[id(group)] is not None]
    others = [group for group in groups if numbers[id(group)] is None]
    texts = {id(group): _text(group, order.key) for group in others}
    rest = sorted((g for g in others if texts[id(g)]), key=lambda g: texts[id(g)], reverse=order.descending)
    return [
        *sorted(known, key=lambda group: numbers[id(group)] or 0.0, reverse=order.descending),
        *rest,
        *(group for group in others if not texts[id(group)]),
    ]


def _natural(runs: Sequence[Run], key: str) -> tuple[bool, str]:
    if key == STARTED:
        return True, "the newest first"
    if key == SECONDS:
        return False, "the shortest first"
    if any(key in run.metrics for run in runs):
        higher = higher_is_better(key, runs)
        if higher is None:
            return True, f"by {key}, the greatest first"
        return higher, f"the best {key} first ({'higher' if higher else 'lower'} is better)"
    return False, f"by {key}"


def _number(group: Group, key: str) -> float | None:
    if key == STARTED:
        times = [run.started.timestamp() for run in group.runs if run.started is not None]
        return max(times, default=None)
    if key == SECONDS:
        return group.seconds()
    measured = group.measured(key)
    if measured is not None:
        return measured.mean if math.isfinite(measured.mean) else None
    try:
        return float(group.values(key)[0])
    except (IndexError, ValueError):
        return None


def _text(group: Group, key: str) -> str:
    if key == "name":
        return group.name
    if key in ("status", "experiment"):
        return str(getattr(group.first, key))
    return group.first.params.get(key, "")
