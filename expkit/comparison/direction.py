"""Which of two values of a metric is the better one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from expkit import registry

if TYPE_CHECKING:
    from expkit.comparison.run import Run

_LOWER = ("loss", "seconds", "time", "error")


def higher_is_better(metric: str, runs: Sequence[Run]) -> bool | None:
    """Return the direction of a metric; None where it has none or nobody knows.

    Args:
        metric: such as "valid/best_accuracy".
        runs: that have it: what they monitored has the direction that they gave it.
    """
    base = metric.partition("/")[2].removeprefix("best_") or metric
    for run in runs:
        if run.monitor is not None and run.monitor.name.partition("/")[2] == base:
            return run.monitor.higher_is_better
    return of_registry(base)


@lru_cache(maxsize=256)
def of_registry(name: str) -> bool | None:
    """Return the direction that the plugin of a metric gives it; None where there is no such plugin."""
    if any(name == word or name.endswith(f"_{word}") for word in _LOWER):
        return False
    found = registry.entries(registry.kind_named("metric")).get(name, ())
    if len(found) != 1:
        return None
    try:
        component = getattr(importlib.import_module(found[0].module), found[0].attribute)
    except Exception:  # noqa: BLE001 - a broken plugin is no reason to show no runs
        return None
    higher = getattr(component, "higher_is_better", None)
    return higher if isinstance(higher, bool) else None
