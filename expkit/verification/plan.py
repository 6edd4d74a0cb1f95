"""How far a run is trained to be verified, how often it is saved, and where it is killed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from expkit import config as configs
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError
from expkit.preparation import steps_per_epoch

STEPS = 60
EPOCHS = 3
SAVES = 8
"""Checkpoints within the epochs, about, where the config asks for none."""


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        config: the experiment, shortened; nothing is exported or drawn.
        steps: to train in all.
        last_step: pause after it; None where the run ends there by itself.
        kill_at: die after this step.
        saved_at: the last step before, after which a checkpoint is written.
    """

    config: ExperimentConfig
    steps: int
    last_step: int | None
    kill_at: int
    saved_at: int


def make_plan(config: ExperimentConfig, steps: int | None, kill_at: int | None) -> Plan:
    """Shorten an experiment, and choose where it dies: where much is lost.

    Args:
        config: the experiment. What the user has typed of `trainer` and `checkpoint` stays.
        steps: to train in all; None for about `STEPS`.
        kill_at: the step after which it dies; None to choose.

    Raises:
        ConfigError: that does not fit together, or leaves no checkpoint to go on from.
        DataError: the data cannot be read, from which the length of an epoch follows.
    """
    changes = ["trainer.stop_after=null", "trainer.progress=plain", "export.enabled=false", "plots.enabled=false"]
    changes += ["tracking.checkpoints=false", f"tracking.experiment={config.name}-verify-resume"]
    if "auto_resume" in config.resolved["trainer"]:
        changes.append("trainer.auto_resume=false")
    if not _typed(config, "trainer.limit_train_batches"):
        changes.append(f"trainer.limit_train_batches={math.ceil((steps or STEPS) / EPOCHS)}")
    per_epoch = steps_per_epoch(_changed(config, changes))
    epochs = math.ceil((steps or max(STEPS, EPOCHS * per_epoch)) / per_epoch)
    if _typed(config, "trainer.epochs"):
        epochs = config.trainer.epochs
    total = steps or epochs * per_epoch
    if total > epochs * per_epoch or total < 2:
        raise ConfigError(
            f"{total} steps: there are {epochs * per_epoch} in trainer.epochs={epochs} of {per_epoch} steps, and at "
            "least 2 are needed, one to lose and one to go on with. Change trainer.epochs or --steps."
        )
    every = config.checkpoint.every_steps or max(2, total // SAVES)
    changes += [f"trainer.epochs={epochs}", f"checkpoint.every_steps={every}"]
    chosen = kill_at or max(range(total // 2, total), key=lambda step: step - _saved_at(step, every, per_epoch))
    saved_at = _saved_at(chosen, every, per_epoch)
    if not 0 < saved_at <= chosen < total:
        raise ConfigError(
            f"--kill-at {chosen}: must be from {min(every, per_epoch + 1)}, before which a checkpoint is written, to "
            f"{total - 1}, behind which there are steps left. Change it, --steps or checkpoint.every_steps."
        )
    return Plan(_changed(config, changes), total, None if total == epochs * per_epoch else total, chosen, saved_at)


def _saved_at(step: int, every: int, per_epoch: int) -> int:
    """Return the step of the last checkpoint when training dies after a step: an epoch's is written after it."""
    return max(step - step % every, (step - 1) // per_epoch * per_epoch)


def _typed(config: ExperimentConfig, option: str) -> bool:
    return any(override.lstrip("+").startswith(f"{option}=") for override in config.overrides)


def _changed(config: ExperimentConfig, changes: list[str]) -> ExperimentConfig:
    text = configs.to_yaml(config.resolved)
    return configs.stored(text, choices=config.choices, overrides=config.overrides, changes=changes)
