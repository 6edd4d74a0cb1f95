"""The metric points of two runs in a tracking store: the same ones, none missing and none twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from expkit.reproduction.comparing import same

Points = Mapping[str, Sequence[tuple[int, float]]]
"""(step, value) of each point, by metric."""
OF_THE_CLOCK = "time/"
"""Metrics that no two runs have the same values of."""
OF_THE_MACHINE = "system/"
"""Metrics that no two runs have at the same steps either."""


def compare_points(then: Points, now: Points) -> list[str]:
    """Return what is otherwise in the second run, a line for each metric of which something is."""
    keys = [key for key in dict.fromkeys((*then, *now)) if not key.startswith(OF_THE_MACHINE)]
    lines = [_metric(key, then.get(key, ()), now.get(key, ())) for key in keys]
    return [line for line in lines if line]


def _metric(key: str, then: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]]) -> str:
    wanted, found = (Counter(step for step, _ in points) for points in (then, now))
    found_out = [
        (f"{'missing' if more < 0 else 'too many'} at", [step for step in counts if counts[step]])
        for more, counts in ((-1, wanted - found), (1, found - wanted))
    ]
    parts = [f"{what} {_listed(steps)}" for what, steps in found_out if steps]
    if not parts and not key.startswith(OF_THE_CLOCK):
        pairs = zip(sorted(then, key=_step), sorted(now, key=_step), strict=True)
        parts = [f"at {step}: {mine!r} -> {theirs!r}" for (step, mine), (_, theirs) in pairs if not same(mine, theirs)]
    return f"{key} {', '.join(parts[:2])}" if parts else ""


def _step(point: tuple[int, float]) -> int:
    return point[0]


def _listed(steps: Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in sorted(steps)[:5])
    return f"{shown} and {len(steps) - 5} more" if len(steps) > 5 else shown
