"""A run as a store holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_OF_PARENTS = ("sweep.jobs", "sweep.folder", "sweep.varies")


@dataclass(frozen=True)
class TrackedRun:
    """A run as a store holds it.

    Attributes:
        id: MLflow's.
        experiment_id: of its experiment.
        experiment: name of it.
        name: of the run in MLflow's tables.
        status: "RUNNING", "FINISHED", "FAILED" or "KILLED", as the store has it.
        started: milliseconds since 1970.
        ended: the same; None where nothing has ended it.
        params: every choice and option, as text.
        metrics: the last value of each.
        tags: all of them.
    """

    id: str
    experiment_id: str
    experiment: str
    name: str
    status: str
    started: int
    ended: int | None
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)

    @property
    def is_parent(self) -> bool:
        """Whether it stands for a sweep, and is none that trained."""
        return any(tag in self.tags for tag in _OF_PARENTS)


Points = Mapping[str, list[tuple[int, float]]]
"""(step, value) of each point by the metric's name."""
