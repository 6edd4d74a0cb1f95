"""What the parts of a sweep tell each other: the jobs, where they come from, who runs them, and how each one ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

FINISHED, FAILED, KILLED, CRASHED, TIMEOUT, PRUNED = "FINISHED", "FAILED", "KILLED", "CRASHED", "TIMEOUT", "PRUNED"
PENDING = "PENDING"
"""It was not begun."""
OUTPUT = "output.log"
"""In a job's folder: what its process printed."""


def has_checkpoint(folder: Path) -> bool:
    """Whether a job that was interrupted has something to go on from; else it begins, though its folder is there."""
    from expkit.checkpoint import CheckpointFolder  # with NumPy, which a sweep need not wait for

    return not CheckpointFolder(folder / "checkpoints").is_empty()


def came_to_nothing(status: str) -> bool:
    """Whether a job that ended so came to nothing, and not because somebody stopped it."""
    return status not in (FINISHED, PRUNED, KILLED, PENDING)


@dataclass(frozen=True)
class Job:
    """One run of a sweep, composed and checked.

    Attributes:
        number: in the sweep, from 0; names its folder.
        folder: its run folder; absolute.
        overrides: what makes it differ from the root config, as typed.
        varies: those of the overrides that not all jobs of the sweep share, such as "optimizer=adam".
        config: its resolved config as YAML, from which its process makes the run without Hydra.
        choices: the option chosen in each config group.
        identity: hash of its config, without what changes nothing of what is learned.
        environment: variables of its process (`hydra.job.env_set`).
        resume: go on with what its folder holds.
        epochs: it is to train in all.
        prunes: whether its process waits for an answer to each report.
    """

    number: int
    folder: Path
    overrides: tuple[str, ...]
    varies: tuple[str, ...]
    config: str
    choices: Mapping[str, str]
    identity: str
    environment: Mapping[str, str] = field(default_factory=dict)
    resume: bool = False
    epochs: int = 1
    prunes: bool = False


@dataclass(frozen=True)
class Report:
    """What a job tells of itself while it trains.

    Attributes:
        epoch: the last one that is done; 0 before the first.
        epochs: of the whole training.
        step: of the whole training.
        steps: of the whole training.
        metrics: of the epoch, as "valid/accuracy"; empty within an epoch.
        monitored: the value that says which epoch is best; None within an epoch.
        monitor: its name, such as "valid/accuracy".
        higher_is_better: its direction.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    monitored: float | None = None
    monitor: str = ""
    higher_is_better: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: FINISHED; FAILED (it raised, or exited with a code); KILLED (it was asked to stop, and saved); CRASHED
            (its process died); TIMEOUT; PRUNED (it was not worth training on).
        reason: in words, for all but FINISHED: "ConfigError: ...", "killed by SIGKILL (out of memory?)".
        value: of the metric that says what is best, over all epochs; None where there is none.
        metrics: of its best weights, as in `run.json`.
        seconds: from the start of its process to its end.
        attempts: processes that were started for it; more than one where it was tried again.
        killed: before it could save, where it had been asked to.
    """

    status: str
    reason: str = ""
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1
    killed: bool = False


class Source(Protocol):
    """Where jobs come from: a list of combinations, or a search that learns from those that are done."""

    def next(self) -> Job | None:
        """Return the next job; None when there is none, or none until another one ends. Called when a slot is free."""

    def reported(self, job: Job, report: Report) -> bool:
        """Take in an epoch's report; returns whether the job is to end here (only asked of jobs with `prunes`)."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take in how a job ended."""


class Watcher(Protocol):
    """Who looks on: the ledger, the screen, the tracking store."""

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """A process for the job was started on a slot, such as "gpu:1" or "cpu 2-3"; `after`: what ended the last."""

    def reported(self, job: Job, report: Report) -> None:
        """A job told how far it is."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job ended; it will not be tried again in this sweep."""

    def tick(self) -> None:
        """Called several times a second, for clocks on the screen."""


class Executor(Protocol):
    """Who runs jobs: the processes of this machine, or a cluster."""

    @property
    def slots(self) -> list[str]:
        """Names of the places that run one job each at a time."""

    def run(self, source: Source, watcher: Watcher) -> None:
        """Run jobs until the source has none and all have ended.

        Raises:
            Stopped: somebody asked to stop; the running jobs have saved and ended, or were killed.
        """
