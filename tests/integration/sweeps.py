"""What the tests of sweeps share: jobs, where they come from, and who looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.config import compose, to_yaml
from expkit.identity import config_hash
from expkit.sweeping.jobs import Job, Outcome, Report

BY_HAND = ("+experiment=housing_numpy_gd", "dataset.download=false", "trainer.epochs=3", "export=none", "plots=none")
MLP = (
    *("+experiment=mnist_cnn", "model=mlp", "model.hidden=[8]", "model.dropout=0.2", "dataset.limit=160"),
    *("dataset.batch_size=16", "dataset.download=false", "trainer.epochs=3", "trainer.stop_after=null"),
    *("plots=none", "export=none", "checkpoint.every_steps=3"),
)


def make_job(number: int, sweep: Path, *overrides: str, **options: Any) -> Job:
    """Make a job as the conductor does."""
    made = compose([*overrides, f"runs_dir={sweep.parents[1]}"])
    return Job(
        number=number,
        folder=sweep / str(number),
        overrides=tuple(overrides),
        varies=(),
        config=to_yaml(made.resolved),
        choices=made.choices,
        identity=config_hash(made.resolved),
        epochs=made.trainer.epochs,
        **options,
    )


class Jobs:
    """A source of given jobs, and a watcher that remembers.

    Attributes:
        outcomes: of the jobs that ended, by number.
        starts: (number, slot, attempt) in order.
        reports: of each job.
        happening: called with each report.
    """

    def __init__(self, *jobs: Job, happening: Callable[[Job, Report], Any] = lambda job, report: None) -> None:
        self._jobs = list(jobs)
        self.happening = happening
        self.outcomes: dict[int, Outcome] = {}
        self.starts: list[tuple[int, str, int]] = []
        self.reports: dict[int, list[Report]] = {job.number: [] for job in jobs}
        self.ticking: Callable[[], Any] = lambda: None
        self.stopping: Callable[[Job, Report], bool] = lambda job, report: False

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def reported(self, job: Job, report: Report) -> bool:
        return self.stopping(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.number] = outcome

    @property
    def watcher(self) -> Watching:
        return Watching(self)


class Watching:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def started(self, job: Job, slot: str, attempt: int) -> None:
        self._jobs.starts.append((job.number, slot, attempt))

    def reported(self, job: Job, report: Report) -> None:
        self._jobs.reports[job.number].append(report)
        self._jobs.happening(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        pass

    def tick(self) -> None:
        self._jobs.ticking()


def again(job: Job) -> Job:
    return replace(job, resume=True)
