"""Runs side by side: what tells them apart, which is best, and their loss curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expkit import config
from expkit.callbacks import read_epochs, read_steps
from expkit.errors import RunNotFoundError
from expkit.plotting import Curve
from expkit.runs import read_record


@dataclass(frozen=True)
class Contender:
    """One run of a comparison.

    Attributes:
        folder: its run folder.
        name: of its experiment.
        status: "FINISHED", "FAILED", ...
        varies: the overrides that not all of the runs share.
        metrics: of its best weights.
        monitor: name and direction of the metric that says what is best.
    """

    folder: Path
    name: str
    status: str
    varies: tuple[str, ...]
    metrics: Mapping[str, float]
    monitor: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tells it from the others."""
        return "  ".join(self.varies) or self.folder.name


def contenders(folders: Sequence[Path]) -> list[Contender]:
    """Read runs, the best first where one metric ranks them all; else in the order given.

    Raises:
        RunNotFoundError: a folder is no run.
    """
    records = [read_record(folder) for folder in folders]
    typed = [_overrides(folder) for folder in folders]
    shared = set.intersection(*map(set, typed)) if typed else set()
    found = [
        Contender(
            folder,
            str(record["name"]),
            str(record["status"]),
            tuple(one for one in overrides if one not in shared),
            record.get("metrics", {}),
            record.get("monitor", {}),
        )
        for folder, record, overrides in zip(folders, records, typed, strict=True)
    ]
    return _ranked(found)


def curves(found: Sequence[Contender]) -> list[Curve]:
    """Return the loss curves of runs, without those that have none."""
    read = [(one.label, read_steps(one.folder), read_epochs(one.folder)) for one in found]
    return [
        Curve(
            label,
            [(step, loss) for step, loss, _ in steps],
            [(int(epoch["epoch"]), epoch["valid/loss"]) for epoch in epochs],
        )
        for label, steps, epochs in read
        if steps
    ]


def _overrides(folder: Path) -> list[str]:
    try:
        return [str(one) for one in config.from_yaml((folder / "overrides.yaml").read_text(encoding="utf-8"))]
    except (OSError, ValueError) as error:
        raise RunNotFoundError(f"{folder} does not say how its run was made: {error}.") from error


def _ranked(found: list[Contender]) -> list[Contender]:
    monitors = {tuple(sorted(one.monitor.items())) for one in found if one.monitor}
    if len(monitors) != 1 or len({one.name for one in found}) != 1:
        return found
    ((_, higher), (_, name)) = next(iter(monitors))
    worst = -math.inf if higher else math.inf
    return sorted(found, key=lambda one: one.metrics.get(name, worst), reverse=bool(higher))
