"""The training loop. It knows learners, batches and callbacks; not Hydra, MLflow or the file system."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from expkit.api import Callback, EpochEnd, EpochStart, FitEnd, FitStart, Learner, StepEnd
from expkit.data import Batches
from expkit.errors import ConfigError, NotFiniteError, TrainingStoppedError
from expkit.events import EVENTS, overrides
from expkit.metrics import Meter
from expkit.seeding import StepRandom
from expkit.spec import Array

log = logging.getLogger("expkit")


class Interrupted(BaseException):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has done so between two steps.

    A BaseException, as KeyboardInterrupt is, so that no `except Exception` of a plugin swallows it.
    """


class Pruned(Interrupted):
    """Training is given up after an epoch: a search has seen that it is not worth the rest. Callbacks may raise it."""


class RolledBack(Exception):  # noqa: N818 - no error: `progress` stands elsewhere now, and training goes on from there
    """Training was taken back to an earlier state."""


@dataclass(frozen=True)
class Monitor:
    """Which metric says what is best.

    Attributes:
        name: such as "valid/accuracy".
        higher_is_better: its direction.
    """

    name: str
    higher_is_better: bool

    def __str__(self) -> str:
        """Return it as a tracking store has it: "valid/accuracy (max)"."""
        return f"{self.name} ({'max' if self.higher_is_better else 'min'})"

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` beats `best`; a tie does not, and NaN never does."""
        if math.isnan(value):
            return False
        if best is None:
            return True
        return value > best if self.higher_is_better else value < best


@dataclass
class Progress:
    """Where training is; all that a checkpoint needs beside learner, callbacks and random state.

    Attributes:
        epoch: the epoch that is being trained, counts from 1 (0: not started).
        batch: batches of that epoch that are done.
        step: optimizer steps that are done; those that were left out or taken back count, so that it never goes back.
        best: best value of the monitored metric, None before the first validation.
        best_epoch: epoch of `best`, 0 before the first validation.
        best_metrics: all metrics of that epoch.
        validated: the last epoch whose validation is done; below `epoch` in the middle of one.
        stopped: why a callback asked to end training after that epoch; empty when none did.
        skipped: batches that were left out because of NaN or infinity.
        rollbacks: how often training was taken back for the same reason.
        overflows: steps without an update, because 16 bits overflowed in them; see `StepResult.skipped`.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    validated: int = 0
    stopped: str = ""
    skipped: int = 0
    rollbacks: int = 0
    overflows: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Trainer:
    """Trains a learner epoch by epoch and tells callbacks about it.

    Args:
        learner: what is trained.
        train: batches to learn from.
        valid: batches to validate on after each epoch.
        meters: "step" (one batch), "train" (an epoch) and "eval", each with metrics of its own.
        callbacks: told in this order.
        monitor: which metric says what is best.
        epochs: to train in all.
        stop_after: an epoch after which training pauses.
        folder: the run folder, for callbacks that write.
        interrupted: asked after every step; a true answer ends training.
        log: records values that callbacks measure: ``log({"weights/head": 1.5}, step)``.
        not_finite: told of NaN and infinity, with the batch where it is one step's; to return is to leave that batch
            out, to raise `RolledBack` to go on from where `progress` stands then. The default stops.
        feed: yields, from an epoch and a number of batches to leave out, what the learner is given of each batch of
            `train`; all of it by default.

    Attributes:
        progress: where training is; one that was saved makes `fit` go on from there.
        not_finite: as above.
    """

    def __init__(
        self,
        learner: Learner,
        train: Batches,
        valid: Batches,
        *,
        meters: Mapping[str, Meter],
        callbacks: Sequence[Callback],
        monitor: Monitor,
        epochs: int,
        folder: Path,
        stop_after: int | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        log: Callable[[Mapping[str, float], int], None] = lambda values, step: None,
        not_finite: Callable[[NotFiniteError, tuple[Array, Array] | None], None] | None = None,
        feed: Callable[[int, int], Iterator[tuple[Array, Array]]] | None = None,
    ) -> None:
        self.learner, self.train, self.valid = learner, train, valid
        self.meters, self.callbacks, self.monitor = meters, callbacks, monitor
        self.epochs, self.stop_after, self.folder = epochs, stop_after, folder
        self.progress = Progress()
        self._interrupted, self._log = interrupted, log
        self.not_finite = not_finite or self._stop_here
        self._feed = feed
        self._random = StepRandom()
        self._told = {event: [getattr(c, event) for c in callbacks if overrides(c, event)] for event in EVENTS}

    def fit(self) -> FitEnd:
        """Train to the end, or from where `progress` stands, and return how it ended.

        Raises:
            Interrupted: training was asked to stop; callbacks have been told.
            TrainingStoppedError: something is not finite, and that is where training stops.
        """
        end = FitEnd("failed", "an error", 0, 0)
        try:
            self._tell("on_fit_start", self._start())
            status, reason = self._epochs()
            end = self._end(status, reason)
        except Interrupted as interrupt:
            end = self._end("interrupted", str(interrupt) or "asked to stop")
            raise
        except BaseException as error:  # KeyboardInterrupt may have torn a step apart: nothing to save
            end = self._end("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            self._tell_end(end)
        return end

    def evaluate(self, batches: Batches) -> dict[str, float]:
        """Measure the loss and the metrics on all batches, without learning."""
        return measure(self.learner, batches, self.meters["eval"], self._check_interrupt)

    def _epochs(self) -> tuple[str, str]:
        """Train the epochs that are left and return how that ended: (status, reason)."""
        while True:
            try:
                return self._epochs_left()
            except RolledBack:
                self._check_interrupt()

    def _epochs_left(self) -> tuple[str, str]:
        progress = self.progress
        if progress.stopped:  # what ended before its result was written stays ended
            return "stopped", progress.stopped
        unfinished = progress.epoch > progress.validated
        for epoch in range(progress.epoch + (not unfinished), self.epochs + 1):
            self._epoch(epoch)
            if progress.stopped:
                return "stopped", progress.stopped
            if epoch == self.stop_after and epoch < self.epochs:
                return "paused", f"after epoch {epoch} of {self.epochs}, as trainer.stop_after={epoch} says"
        return "finished", ""

    def _epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        done = self.progress.batch if self.progress.epoch == epoch else 0
        self.progress.epoch, self.progress.batch = epoch, done
        self._tell("on_epoch_start", EpochStart(epoch))
        if not done:  # else it goes on with what it has
            self.meters["train"].reset()
        for inputs, targets in (self._feed or self.train.epoch)(epoch, done):
            self._watched_step(inputs, targets)
            self._check_interrupt()
        metrics = self.meters["train"].compute("train/")
        try:
            metrics.update({f"valid/{name}": value for name, value in self._validate().items()})
            is_best = self._note_best(epoch, metrics)
            self.progress.validated = epoch
            if hasattr(self.learner, "end_epoch"):
                self.learner.end_epoch(metrics)
            seconds = time.perf_counter() - started
            self._tell("on_epoch_end", EpochEnd(epoch, self.progress.step, metrics, is_best, seconds, self._stop))
        except NotFiniteError as error:
            self.not_finite(error, None)
            raise  # there is no batch to leave out

    def _validate(self) -> dict[str, float]:
        try:
            values = self.evaluate(self.valid)
        except NotFiniteError as error:
            raise NotFiniteError(error.text.replace("the loss", "the validation loss"), kind="validation") from error
        if not math.isfinite(values["loss"]):
            raise NotFiniteError(f"the validation loss is {values['loss']}", kind="validation")
        return values

    def _watched_step(self, inputs: Array, targets: Array) -> None:
        """Make one step; what is not finite in it is told with everything as it was before, as far as that can be."""
        progress = self.progress
        step, batch, random = progress.step, progress.batch, self._random.note()
        try:
            self._step(inputs, targets)
        except NotFiniteError as error:
            if error.undone:
                self._random.put_back(random)
            progress.step, progress.batch = step, batch
            whole = (inputs, targets) if self._feed is None else self.train.batch(progress.epoch, batch)
            self.not_finite(error, whole)
            progress.step, progress.batch, progress.skipped = step + 1, batch + 1, progress.skipped + 1
            self._log({"nonfinite/skipped": progress.skipped}, progress.step)

    def _step(self, inputs: Array, targets: Array) -> None:
        rate = self.learner.learning_rate
        result = self.learner.train_step(inputs, targets)
        if not math.isfinite(result.loss):
            raise NotFiniteError(f"the loss is {result.loss}", undone=False)
        targets = targets if result.targets is None else result.targets
        progress = self.progress
        progress.step += 1
        progress.batch += 1
        if result.skipped:
            progress.overflows += 1
            self._log({"amp/overflows": progress.overflows}, progress.step)
        meter = self.meters["step"]
        meter.reset()
        meter.update(result, targets)
        self.meters["train"].merge(meter, result, targets)
        values = meter.compute()
        loss = values.pop("loss")
        self._tell(
            "on_step_end",
            StepEnd(progress.epoch, progress.step, progress.batch, len(targets), loss, rate, values),
        )

    def _start(self) -> FitStart:
        return FitStart(
            self.train.spec,
            self.epochs,
            len(self.train),
            self.progress.step,
            self.folder,
            self._directions(),
            learner=self.learner,
            train=self.train,
            valid=self.valid,
            log=self._log,
        )

    def _directions(self) -> dict[str, bool]:
        found = self.meters["eval"].higher_is_better
        return {f"{split}/{name}": higher for split in ("train", "valid") for name, higher in found.items()}

    def _stop_here(self, error: NotFiniteError, batch: tuple[Array, Array] | None) -> None:
        raise TrainingStoppedError(f"{error.text} {place(self.progress, batch)}.") from error

    def _note_best(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        if self.monitor.name not in metrics:
            raise ConfigError(
                f"checkpoint.monitor={self.monitor.name!r} is not measured. Measured are {', '.join(metrics)}."
            )
        value = metrics[self.monitor.name]
        if not self.monitor.improves(value, self.progress.best):
            return False
        self.progress.best, self.progress.best_epoch, self.progress.best_metrics = value, epoch, dict(metrics)
        return True

    def _stop(self, reason: str) -> None:
        self.progress.stopped = self.progress.stopped or reason or "a callback asked to stop"

    def _check_interrupt(self) -> None:
        if self._interrupted():
            raise Interrupted

    def _end(self, status: str, reason: str) -> FitEnd:
        return FitEnd(status, reason, self.progress.epoch, self.progress.step)

    def _tell_end(self, end: FitEnd) -> None:
        """Tell every callback, even when one of them fails; an error that ended training outranks theirs."""
        first: Exception | None = None
        for callback in self.callbacks:
            try:
                callback.on_fit_end(end)
            except Exception as error:  # noqa: BLE001 - a plugin's code; raised again below
                log.warning("%s.on_fit_end failed: %s: %s", type(callback).__name__, type(error).__name__, error)
                first = first or error
        if first is not None and end.status in ("finished", "stopped"):
            raise first

    def _tell(self, method: str, event: Any) -> None:
        for tell in self._told[method]:
            tell(event)


def place(progress: Progress, batch: tuple[Array, Array] | None) -> str:
    """Say where something happened: in the step with this batch, which is not counted yet, or after an epoch."""
    if batch is None:
        return f"after epoch {progress.epoch}, step {progress.step}"
    return f"at step {progress.step + 1} (epoch {progress.epoch}, batch {progress.batch + 1})"


def measure(
    learner: Learner, batches: Batches, meter: Meter, check: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Measure the loss and the metrics on all batches, without learning.

    Args:
        learner: with the weights to measure.
        batches: to measure on.
        meter: takes them in, after a reset.
        check: called after each batch; raises when somebody asked to stop.
    """
    meter.reset()
    for inputs, targets in batches.epoch():
        meter.update(learner.eval_step(inputs, targets), targets)
        check()
    return meter.compute()
