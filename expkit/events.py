"""What the trainer tells its callbacks: few typed events, delivered in the callbacks' order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.spec import BatchSource, DataSpec

if TYPE_CHECKING:
    from expkit.api import Learner


def _ignore(values: Mapping[str, float], step: int) -> None:
    """Record nothing: what a caller gets who gives no `log`."""


@dataclass(frozen=True)
class FitStart:
    """Training begins.

    Attributes:
        spec: the data's spec.
        epochs: number of epochs to train in all.
        steps_per_epoch: optimizer steps in one epoch.
        step: optimizer steps already done (0 unless resumed).
        folder: the run folder; a callback may write files there.
        higher_is_better: direction of every metric that an epoch will measure: {"valid/accuracy": True, ...}.
        learner: what is trained; to look at, never to change. None where a caller has none to show.
        train: batches to learn from.
        valid: batches to validate on.
        log: records further values at a step, wherever results go: ``log({"weights/head": 1.5}, step)``.
    """

    spec: DataSpec
    epochs: int
    steps_per_epoch: int
    step: int
    folder: Path
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    learner: Learner | None = None
    train: BatchSource | None = None
    valid: BatchSource | None = None
    log: Callable[[Mapping[str, float], int], None] = _ignore


@dataclass(frozen=True)
class EpochStart:
    """An epoch begins (`epoch` counts from 1)."""

    epoch: int


@dataclass(frozen=True)
class StepEnd:
    """One optimizer step is done.

    Attributes:
        epoch: counts from 1.
        step: optimizer steps since the start of training, counts from 1.
        batch: position in the epoch, counts from 1.
        samples: size of this batch.
        loss: loss of this batch.
        learning_rate: rate that this step used.
        metrics: of this batch, such as {"accuracy": 0.9}.
    """

    epoch: int
    step: int
    batch: int
    samples: int
    loss: float
    learning_rate: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class EpochEnd:
    """An epoch and its validation are done.

    Attributes:
        epoch: counts from 1.
        step: optimizer steps since the start of training.
        metrics: such as {"train/loss": 0.1, "valid/accuracy": 0.98}.
        is_best: whether the monitored metric is the best so far.
        seconds: wall time of the epoch with its validation.
        stop: call with a reason to end training after this epoch.
    """

    epoch: int
    step: int
    metrics: Mapping[str, float]
    is_best: bool
    seconds: float
    stop: Callable[[str], None]


@dataclass(frozen=True)
class FitEnd:
    """Training is over.

    Attributes:
        status: "finished", "stopped" (by a callback), "paused" (`trainer.stop_after`), "interrupted" or "failed".
        reason: why, in words; empty when finished.
        epoch: epochs done.
        step: optimizer steps done.
    """

    status: str
    reason: str
    epoch: int
    step: int


EVENTS = ("on_fit_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_fit_end")
ROLES = ("observer", "essential")


class Callback:
    """Watches training. Override what you need; never change model or data from here.

    Callbacks are told of an event in the order in which they were chosen: ``callbacks=[first,second]``.

    A callback with memory of its own overrides `state_dict` and `load_state_dict`, so that a resumed run goes on as
    if it had not stopped.

    Attributes:
        role: what becomes of the run when a method raises. An "observer" is switched off, which is said at once, at the
            end, and in the run's record; training goes on. An "essential" one ends the run, which has failed then.
            Either ends it by `ConfigError`, as for an option that cannot be, or `TrainingStoppedError`.

    Example:
        >>> class Beep(Callback):
        ...     def on_epoch_end(self, event: EpochEnd) -> None:
        ...         if event.is_best:
        ...             print("a new best")
    """

    role: str = "observer"

    def on_fit_start(self, event: FitStart) -> None:
        """Training begins."""

    def on_epoch_start(self, event: EpochStart) -> None:
        """An epoch begins."""

    def on_step_end(self, event: StepEnd) -> None:
        """A step is done; called very often, so keep it cheap."""

    def on_epoch_end(self, event: EpochEnd) -> None:
        """An epoch and its validation are done."""

    def on_fit_end(self, event: FitEnd) -> None:
        """Training is over, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint; JSON only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


def overrides(callback: Any, event: str) -> bool:
    """Say whether a callback does something at an event; one that is not derived from `Callback` may lack it."""
    own = getattr(callback, event, None)
    return own is not None and getattr(own, "__func__", own) is not getattr(Callback, event)
