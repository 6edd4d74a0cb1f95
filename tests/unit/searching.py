"""A search without training: jobs that are never composed, and an executor that runs them in the test's own thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expkit.sweeping.jobs import FAILED, FINISHED, PRUNED, Job, Outcome, Report
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.options import SearchOptions
from expkit.sweeping.search.source import Search
from expkit.sweeping.search.space import Choices, Parameter, Space, numbers
from expkit.sweeping.search.study import open_study

EPOCHS = 5
ACCURACY = Objective("valid/accuracy", higher_is_better=True, monitored=True)
LOSS = Objective("valid/loss", higher_is_better=False)
RATE = Parameter("rate", numbers("rate", 1e-4, 1.0, step=None, log=True, whole=False))
OPTIMIZER = Parameter("optimizer", Choices(("sgd", "adam")))


def accuracy(values: Mapping[str, str]) -> float:
    """The best rate is 0.01."""
    return 0.9 - 0.1 * abs(math.log10(float(values["rate"])) + 2)


@dataclass
class FakeRuns:
    """Runs jobs; what a run comes to is a function of its parameters.

    Attributes:
        value: of the monitored metric after all epochs.
        seconds: that a run takes.
        slots: jobs at a time.
        stop_after: jobs that end before somebody stops the sweep; those that run then are killed.
    """

    value: Callable[[Mapping[str, str]], float] = accuracy
    seconds: Callable[[Mapping[str, str]], float] = lambda values: float(EPOCHS)
    slots: int = 1
    stop_after: int | None = None
    jobs: list[Job] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    most: int = 0

    def run(self, search: Search) -> None:
        running: list[Job] = []
        while True:
            while len(running) < self.slots and (job := search.next()) is not None:
                running.append(job)
                self.jobs.append(job)
            self.most = max(self.most, len(running))
            if self.stop_after is not None and len(self.outcomes) >= self.stop_after:
                return
            if not running:
                return
            job = running.pop(0)
            self.outcomes[job.number] = self.end(search, job)
            search.ended(job, self.outcomes[job.number])

    def end(self, search: Search, job: Job) -> Outcome:
        """Train all epochs, or to the one that is the last since the search says so."""
        try:
            value = self.value(parameters(job))
        except ArithmeticError as error:
            return Outcome(FAILED, reason=f"NotFiniteError: {error}")
        except RuntimeError as error:
            return Outcome(FAILED, reason=f"RuntimeError: {error}")
        for epoch in range(1, EPOCHS + 1):
            reached = value * (1 - 2.0**-epoch)
            report = Report(epoch, EPOCHS, epoch, EPOCHS, {"valid/accuracy": reached}, reached, "valid/accuracy")
            if search.reported(job, report):
                return Outcome(PRUNED, reason=f"pruned after epoch {epoch}", value=reached, seconds=float(epoch))
        metrics = {"valid/accuracy": value, "valid/loss": 1 - value}
        return Outcome(FINISHED, value=value, metrics=metrics, seconds=self.seconds(parameters(job)))


def parameters(job: Job) -> dict[str, str]:
    return dict(one.partition("=")[::2] for one in job.varies)


def make_search(
    folder: Path,
    parameters: Sequence[Parameter] = (RATE, OPTIMIZER),
    objectives: Sequence[Objective] = (ACCURACY,),
    make_job: Callable[[int, Sequence[str]], Job] | None = None,
    notes: list[str] | None = None,
    **options: Any,
) -> Search:
    given = SearchOptions(**options, objectives={one.name: None for one in objectives[1:] and objectives})
    space = Space(list(parameters))
    study = open_study(given, space, objectives, folder, EPOCHS)

    def job(number: int, values: Sequence[str]) -> Job:
        return Job(number, folder / str(number), tuple(values), tuple(values), "", {}, str(values), epochs=EPOCHS)

    note = (lambda text: None) if notes is None else notes.append
    return Search(study, space, given, objectives, make_job or job, folder, note)
