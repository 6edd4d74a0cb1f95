"""Runs the step of a capsule again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expkit import cpu_tuning, device, seeding
from expkit.api import Learner
from expkit.capsule import Capsule, read_capsule
from expkit.diagnosis import Diagnosis, diagnose
from expkit.errors import ConfigError, NotFiniteError
from expkit.parts import ConfiguredParts
from expkit.past import PastRun, check_change, read_changed
from expkit.preparation import prepare
from expkit.spec import DataSpec

CHANGEABLE = ("learner.", "model.", "loss.", "optimizer.", "schedule.", "regularizer.", "device.", "trainer.to_static")
"""What a step may be tried with; the batch is in the capsule, and what would change it has no effect."""
AFTERWARDS = ("optimizer.", "schedule.", "learner.learning_rate")
"""What has its effect only after loss and gradients."""


@dataclass(frozen=True)
class Replay:
    """A step that was run again.

    Attributes:
        capsule: as it was kept.
        found: what is not finite this time, in words; empty when nothing is.
        loss: of the step.
        diagnosis: where that comes from now; the ranges of all layers in any case.
        too_late: whether all changes have their effect only after what failed.
    """

    capsule: Capsule
    found: str
    loss: float
    diagnosis: Diagnosis
    too_late: bool


def replay(folder: Path, changes: Sequence[str] = ()) -> Replay:
    """Run the step of a capsule again; nothing is written.

    Args:
        folder: the capsule.
        changes: "key=value" for what is to be tried.

    Raises:
        CheckpointError: the folder is no capsule, or is damaged.
        ConfigError: a change cannot be made, or does not fit the saved state.
    """
    _check(changes)
    capsule = read_capsule(folder)
    learner = _learner(read_changed(folder, changes), capsule)
    learner.load_state_dict(capsule.snapshot.learner)
    seeding.restore_random_state(capsule.snapshot.random)
    training = capsule.kind != "validation"
    diagnosis = diagnose(learner, capsule.inputs, capsule.targets, training=training)
    seeding.restore_random_state(capsule.snapshot.random)
    found, loss = _step(learner, capsule, training)
    late = bool(changes) and all(change.startswith(AFTERWARDS) for change in changes)
    return Replay(capsule, found, loss, diagnosis, late and bool(found))


def _check(changes: Sequence[str]) -> None:
    for change in changes:
        try:
            check_change(change, CHANGEABLE)
        except ConfigError as error:
            names = ", ".join(f"{name}*" if name.endswith(".") else name for name in CHANGEABLE)
            raise ConfigError(
                f"{change!r} cannot be tried: the step has its own batch and random state. A change is written "
                f"key=value; what may change is {names}."
            ) from error


def _learner(past: PastRun, capsule: Capsule) -> Learner:
    """Build the learner as `prepare` does, without the data where that is possible."""
    config = past.config
    cpu_tuning.tune(config.device.tune)
    used = device.select(config.device.name, config.device.index, config.device.threads)
    parts = ConfiguredParts(config, _spec(past), steps_per_epoch=capsule.steps_per_epoch, device=used)
    seeding.seed_everything(config.seed)
    learner: Learner = config.learner.build(parts=parts)
    return learner


def _spec(past: PastRun) -> DataSpec:
    try:
        return past.spec()
    except ConfigError:  # only the dataset's plugin knows how its inputs are read
        return prepare(past.config).data.spec


def _step(learner: Learner, capsule: Capsule, training: bool) -> tuple[str, float]:
    """Return what is not finite in the step, in words ("" for nothing), and its loss."""
    before = _not_finite(learner)
    step = learner.train_step if training else learner.eval_step
    try:
        loss = step(capsule.inputs, capsule.targets).loss
    except NotFiniteError as error:
        return error.text, math.nan
    if not math.isfinite(loss):
        return f"the loss is {loss}", loss
    made = [name for name in _not_finite(learner) if name not in before]
    return (f"the update makes {made[0]} NaN or infinite" if made else ""), loss


def _not_finite(learner: Learner) -> list[str]:
    return [name for name, values in learner.state_dict().model.items() if not np.isfinite(values).all()]
