"""What becomes of a run in which a loss, a gradient or a weight is NaN or infinite: `trainer.on_nonfinite`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.callbacks import checkpoints_in
from expkit.capsule import Capsule, write_capsule
from expkit.checkpoint import CheckpointFolder
from expkit.config import ExperimentConfig
from expkit.diagnosis import Diagnosis, diagnose
from expkit.errors import CheckpointError, NotFiniteError, TrainingStoppedError
from expkit.parts import rate_of, rated
from expkit.report import quote_path
from expkit.runlog import log
from expkit.snapshot import Snapshot
from expkit.state import WholeState
from expkit.trainer import RolledBack, Trainer, place

Step = tuple[Array, Array]


@dataclass(frozen=True)
class _Trouble:
    """What happened, and what is known of it."""

    error: NotFiniteError
    place: str
    diagnosis: Diagnosis | None
    capsule: Path | None

    @property
    def kind(self) -> str:
        return "" if self.diagnosis is None else self.diagnosis.origin.kind

    @property
    def where(self) -> str:
        if self.error.kind == "weight":
            return "the update made it so, of a finite loss and finite gradients"
        if not self.error.undone and self.kind == "weight":
            return "weights are NaN or infinite by now; the learner says so after its update, when it is not known why"
        return "nothing more is known" if self.diagnosis is None else self.diagnosis.origin.text


class Guard:
    """Finds out where NaN or infinity comes from, keeps the step in a capsule, and does what the config asks for.

    To be made when the trainer stands where training begins.

    Args:
        config: the experiment.
        folder: the run folder; capsules go into it.
        trainer: which tells of what is not finite.
        checkpoints: get what was rolled back to.
        state: takes snapshots, and takes them back.
        log_metrics: records values at a step.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        trainer: Trainer,
        checkpoints: CheckpointFolder,
        state: WholeState,
        log_metrics: Callable[[Mapping[str, float], int], None],
    ) -> None:
        self._config, self._folder, self._trainer = config, folder, trainer
        self._checkpoints, self._state, self._log_metrics = checkpoints, state, log_metrics
        self._wanted = config.trainer.on_nonfinite
        # Some numbers are infinite on purpose, as those of a mask.
        self._meant = set(_not_finite(trainer.learner.state_dict().model))
        # Apart from the run's checkpoints: which of those is the last one depends on when a run was interrupted.
        self._anchor = checkpoints_in(folder, "rollback")
        if self._wanted == "rollback" and not (self._anchor.folder / "index.json").is_file():
            self._anchor.save(state.take(), best=False)

    def take(self) -> Snapshot:
        """Return the state as it is now, to be kept as a checkpoint; the end of an epoch is what is rolled back to.

        Raises:
            NotFiniteError: a weight is not finite; such a state is nothing to go back to.
        """
        snapshot = self._sound()
        if self._wanted == "rollback" and snapshot.progress["validated"] == snapshot.progress["epoch"]:
            self._anchor.save(snapshot, best=False)
        return snapshot

    def _sound(self) -> Snapshot:
        snapshot = self._state.take()
        bad = [name for name in _not_finite(snapshot.learner.model) if name not in self._meant]
        if bad:
            more = f" and of {len(bad) - 1} more" if len(bad) > 1 else ""
            raise NotFiniteError(f"the value of {bad[0]}{more} is NaN or infinite", kind="weight", undone=False)
        return snapshot

    def __call__(self, error: NotFiniteError, batch: Step | None) -> None:
        """Return to leave the batch out.

        Args:
            error: says what is not finite.
            batch: of the step; None after an epoch.

        Raises:
            TrainingStoppedError: this is the end; says what happened, and what may help.
            RolledBack: training goes on from where it stands now.
        """
        trouble = self._examine(error, batch)
        refusal = self._why_not(trouble, batch)
        if self._wanted == "skip" and not refusal:
            self._say_skipped(trouble)
            return
        if self._wanted == "rollback" and not refusal:
            self._roll_back(trouble, counted=batch is not None)
            raise RolledBack
        raise TrainingStoppedError(self._ending(trouble, refusal)) from error

    def _examine(self, error: NotFiniteError, batch: Step | None) -> _Trouble:
        where = place(self._trainer.progress, batch)
        training, snapshot = batch is not None, self._state.take()
        shown = batch if error.kind != "validation" else self._validation_batch()
        if shown is None:
            return _Trouble(error, where, None, None)
        diagnosis = diagnose(self._trainer.learner, *shown, training=training)
        step = self._trainer.progress.step + training
        folder = self._folder / "capsules" / f"step-{step:08d}{'' if training else '-valid'}"
        capsule = Capsule(
            found=error.text,
            kind=error.kind,
            place=where,
            exact=error.undone,
            steps_per_epoch=len(self._trainer.train),
            inputs=np.ascontiguousarray(shown[0]),
            targets=np.ascontiguousarray(shown[1]),
            snapshot=snapshot,
            diagnosis=diagnosis,
        )
        try:
            write_capsule(folder, self._folder, capsule)
        except (OSError, CheckpointError) as trouble:  # a full disk must not hide what happened
            log.warning("The capsule %s could not be written: %s", folder, trouble)
            return _Trouble(error, where, diagnosis, None)
        return _Trouble(error, where, diagnosis, folder)

    def _validation_batch(self) -> Step | None:
        """Return the first batch of the validation whose loss is not finite."""
        for inputs, targets in self._trainer.valid.epoch():
            try:
                sound = math.isfinite(self._trainer.learner.eval_step(inputs, targets).loss)
            except NotFiniteError:
                sound = False
            if not sound:
                return inputs, targets
        return None

    def _why_not(self, trouble: _Trouble, batch: Step | None) -> str:
        """Say why what is wanted cannot be done this time; "" where it can."""
        progress, limit = self._trainer.progress, self._config.trainer.nonfinite_limit
        if self._wanted == "skip":
            if progress.skipped >= limit:
                return f"{_times(limit, 'batch was', 'batches were')} left out already: trainer.nonfinite_limit={limit}"
            if trouble.error.kind == "weight" or not trouble.error.undone:
                return f"learner={self._config.learner.name} has made its update already, which cannot be undone"
            if batch is None or trouble.kind == "weight":
                return "there is no batch whose leaving out would help"
        if self._wanted == "rollback":
            if progress.rollbacks >= limit:
                times = _times(limit, "time", "times")
                return f"training was taken back {times} already: trainer.nonfinite_limit={limit}"
            if not self._trainer.learner.learning_rate:
                return "there is no learning rate that could be made smaller"
        return ""

    def _say_skipped(self, trouble: _Trouble) -> None:
        count, limit = self._trainer.progress.skipped + 1, self._config.trainer.nonfinite_limit
        log.warning(
            "%s %s: %s. The batch is left out (%d of at most %d).%s",
            *(trouble.error.text, trouble.place, trouble.where, count, limit, _look(trouble)),
        )

    def _roll_back(self, trouble: _Trouble, *, counted: bool) -> None:
        """Go back to the end of the last epoch, or the start, with a smaller rate, and save that as a checkpoint."""
        trainer, factor = self._trainer, self._config.trainer.rollback_factor
        failed = trainer.progress
        last = self._anchor.load("last")
        progress = {
            **last.progress,
            "step": failed.step + counted,  # the record of steps, which cannot be unwritten, goes on
            "skipped": failed.skipped,
            "rollbacks": failed.rollbacks + 1,
        }
        self._state.take_back(replace(last, progress=progress))
        learner: Any = trainer.learner  # whose method is optional; `parts.check_rollback` has seen it
        learner.scale_learning_rate(factor ** (failed.rollbacks + 1 - int(last.progress.get("rollbacks", 0))))
        at = (
            "the start"
            if not last.progress["step"]
            else f"epoch {last.progress['epoch']}, step {last.progress['step']}"
        )
        log.warning(
            "%s %s: %s. Back to %s, and on with the learning rate times %g, now %g (%d of at most %d times).%s",
            *(trouble.error.text, trouble.place, trouble.where, at, factor, learner.learning_rate),
            *(failed.rollbacks + 1, self._config.trainer.nonfinite_limit, _look(trouble)),
        )
        self._log_metrics({"nonfinite/rollbacks": failed.rollbacks + 1}, trainer.progress.step)
        self._checkpoints.save(self._sound(), best=False)

    def _ending(self, trouble: _Trouble, refusal: str) -> str:
        lines = [f"{trouble.error.text} {trouble.place}.", f"  where    {trouble.where}"]
        if refusal:
            lines.append(f"  {self._wanted:<8} not this time: {refusal}")
        if trouble.capsule is not None:
            capsule, state = (
                quote_path(trouble.capsule),
                "before the step" if trouble.error.undone else "after the step",
            )
            state = "then" if trouble.error.kind == "validation" else state
            lines.append(f"  capsule  {capsule}  (the state {state}, the batch, the random state)")
            lines.append(f"  look     python -m expkit replay {capsule}")
        lines += [f"  try      {advice}" for advice in self._advice(trouble)]
        return "\n".join(lines)

    def _advice(self, trouble: _Trouble) -> Sequence[str]:
        advice = []
        component, first = rated(self._config), self._trainer.progress.step == 0
        if trouble.kind == "batch":
            advice.append("mend the data; `python -m expkit check` with the same words looks at all of it")
        elif first:
            advice.append("other start weights, loss or normalisation: in the first step no learning rate is to blame")
        elif component is not None and self._trainer.learner.learning_rate:
            advice.append(f"a smaller learning rate: {component.kind}.learning_rate={rate_of(component) / 10:g}")
        if self._wanted != "stop":
            return advice
        if hasattr(self._trainer.learner, "scale_learning_rate") and trouble.kind != "batch" and not first:
            factor, index = self._config.trainer.rollback_factor, self._checkpoints.folder / "index.json"
            again = f"python -m expkit resume {quote_path(self._folder)} " if index.is_file() else ""
            advice.append(f"{again}trainer.on_nonfinite=rollback  (goes on with the rate times {factor:g})")
        if trouble.error.undone and trouble.error.kind != "validation" and trouble.kind not in ("weight", ""):
            advice.append("trainer.on_nonfinite=skip  (leaves such batches out)")
        return advice


def _not_finite(weights: Mapping[str, Array]) -> list[str]:
    return [name for name, values in weights.items() if not np.isfinite(values).all()]


def _look(trouble: _Trouble) -> str:
    return "" if trouble.capsule is None else f" Look: python -m expkit replay {quote_path(trouble.capsule)}"


def _times(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
