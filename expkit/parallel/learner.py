"""The learner of a run with several devices, as the rest of rank 0 sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from expkit.api import Learner, LearnerState, NotFiniteError, StepResult
from expkit.data import Batches
from expkit.errors import ConfigError
from expkit.parallel.messages import DONE, NOT_FINITE, Part
from expkit.parallel.shares import rows_of, share
from expkit.parallel.team import Leader
from expkit.seeding import StepRandom
from expkit.spec import Array

_EVERYWHERE = ("end_epoch", "scale_learning_rate")
"""Methods that a learner may have, which change what it does next."""
_LOOK = 64
"""Samples on which the loss is tried."""
_ROUNDING = 1e-4


class TeamLearner:
    """Makes each step on all devices. All else, measuring too, is done by the learner of rank 0.

    The others get its state before their first step, and whenever it was given another one.

    Args:
        learner: of rank 0.
        team: all devices.
        batches: to learn from.
    """

    def __init__(self, learner: Learner, team: Leader, batches: Batches) -> None:
        self._learner, self._team, self._batches = learner, team, batches
        self._stale = True

    def __getattr__(self, name: str) -> Any:
        """Return what else the learner has, such as its `model`."""
        found = getattr(self._learner, name)
        return partial(self._everywhere, name) if name in _EVERYWHERE else found

    @property
    def learning_rate(self) -> float:
        """Rate that the next step will use."""
        return self._learner.learning_rate

    def feed(self, epoch: int, skip: int) -> Iterator[tuple[Array, Array]]:
        """Yield what rank 0 computes of each batch of an epoch, and let the others get theirs.

        Raises:
            DeviceLostError: devices no longer hold the same weights, or one is gone.
        """
        self._refresh()
        digest: Callable[[], str] | None = getattr(self._learner, "digest", None)
        self._team.tell("begin", epoch, skip, None if digest is None else digest())
        return self._batches.epoch(epoch, skip, rows_of(0, self._team.size))

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run one step on all devices, with these samples in rank 0.

        Raises:
            NotFiniteError: the loss or a gradient is not finite, and no device has changed.
            DeviceLostError: a device failed, is gone, or does not answer.
        """
        self._refresh()
        self._team.tell("step")
        try:
            result = self._learner.train_step(inputs, targets)
        except NotFiniteError:
            self._team.answers(NOT_FINITE)
            raise
        parts: list[Part] = [Part(result.outputs, targets), *self._team.answers(DONE)]
        own = [part for part in parts if part.outputs is not None]
        return StepResult(
            result.loss,
            np.concatenate([part.outputs for part in own]),
            skipped=result.skipped,
            targets=np.concatenate([part.targets for part in own]),
        )

    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward only, in rank 0."""
        return self._learner.eval_step(inputs, targets)

    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode."""
        return self._learner.predict(inputs)

    def state_dict(self) -> LearnerState:
        """Return a copy of the whole state of rank 0, which is that of all but for what a model keeps of its inputs."""
        return self._learner.state_dict()

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave; the other devices get it before the next step."""
        self._learner.load_state_dict(state)
        self._stale = True

    def summary(self) -> Mapping[str, float]:
        """Facts for people."""
        return self._learner.summary()

    def tags(self) -> Mapping[str, str]:
        """Facts of rank 0 to search by."""
        tags: Mapping[str, str] = getattr(self._learner, "tags", dict)()
        return tags

    def export(self, folder: Any) -> Callable[[Array], Array]:
        """Write an inference model."""
        return self._learner.export(folder)

    def _everywhere(self, name: str, *arguments: Any) -> None:
        if not self._stale:  # else they get the outcome
            self._team.tell("call", name, arguments)
        getattr(self._learner, name)(*arguments)

    def _refresh(self) -> None:
        if self._stale:
            self._team.tell("load", self._learner.state_dict())
            self._stale = False


def check_mean(learner: Learner, batches: Batches, size: int) -> None:
    """Refuse a loss that is no mean over samples: its gradient cannot be put together from shares of a batch.

    Args:
        learner: to measure with; global generators are left as they were.
        batches: some samples of the first one are measured, whole and in shares.
        size: number of devices.

    Raises:
        ConfigError: the two differ by more than rounding does.
    """
    inputs, targets = batches.batch(1, 0, rows=lambda samples: slice(0, max(size, min(samples, _LOOK))))
    weigh = getattr(getattr(learner, "loss", None), "divisor", len)
    random = StepRandom()
    before = random.note()
    whole = learner.eval_step(inputs, targets).loss
    total = weights = 0.0
    for rank in range(size):
        own = share(len(targets), rank, size)
        if own.counts:
            weight = float(weigh(targets[own.rows]))
            total += weight * learner.eval_step(inputs[own.rows], targets[own.rows]).loss
            weights += weight
    random.put_back(before)
    put_together = total / weights
    if math.isfinite(whole) and abs(put_together - whole) > _ROUNDING * max(abs(whole), 1.0):
        raise ConfigError(
            f"trainer.devices={size}: the loss of {len(targets)} samples is {whole:.7g}, but put together from "
            f"{size} shares of them it is {put_together:.7g}. A loss that is no mean over samples, or a model that "
            "mixes samples, learns otherwise on several devices. Use trainer.devices=1, or give the loss a method "
            "`divisor(targets)` that says what its mean divides by (docs/writing-a-plugin.md)."
        )
