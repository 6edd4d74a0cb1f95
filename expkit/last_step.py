"""Pausing after a certain step, in the middle of an epoch, too."""

from __future__ import annotations

from expkit.api import Callback, EpochEnd, FitStart, StepEnd
from expkit.trainer import Interrupted


class EnoughSteps(Interrupted):
    """Training has made as many steps as it should; it is interrupted, so that a checkpoint is saved."""


class LastStep(Callback):
    """Pauses after a step; where that ends an epoch, after the epoch's validation. To be the last of the callbacks.

    Args:
        step: counts from 1.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._steps_per_epoch = 0

    def on_fit_start(self, event: FitStart) -> None:
        """Learn how long an epoch is."""
        self._steps_per_epoch = event.steps_per_epoch

    def on_step_end(self, event: StepEnd) -> None:
        """Pause in the middle of an epoch."""
        if event.step >= self._step and event.batch < self._steps_per_epoch:
            raise EnoughSteps(self._reason(event.step))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Pause at the end of an epoch."""
        if event.step >= self._step:
            raise EnoughSteps(self._reason(event.step))

    def _reason(self, step: int) -> str:
        return f"after step {step:,}, as was asked"
