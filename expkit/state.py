"""The whole state of a run: how a snapshot of it is made, and how it comes back from one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from expkit.callbacks import EPOCHS, STEPS, History
from expkit.preparation import Prepared
from expkit.runlog import log
from expkit.seeding import random_state, restore_random_state
from expkit.snapshot import Snapshot
from expkit.trainer import Progress, Trainer


class WholeState:
    """All that has to go into a checkpoint for a run to go on as if it had not stopped.

    Args:
        prepared: learner, meters and callbacks.
        trainer: knows where training is.
        history: is written before each snapshot, since it is read back with it.
        facts: returns what a snapshot says of its run.
    """

    def __init__(
        self, prepared: Prepared, trainer: Trainer, history: History, facts: Callable[[], dict[str, Any]]
    ) -> None:
        self._prepared, self._trainer, self._history, self._facts = prepared, trainer, history, facts

    def take(self) -> Snapshot:
        """Return the state as it is now."""
        self._history.write_steps()
        return Snapshot(
            self._prepared.learner.state_dict(),
            progress=self._trainer.progress.as_dict(),
            callbacks={name: callback.state_dict() for name, callback in self._prepared.callbacks.items()},
            random=random_state(),
            meters=self._prepared.meters["train"].state_dict(),
            run=self._facts(),
        )

    def take_back(self, snapshot: Snapshot) -> None:
        """Make everything as it was when the snapshot was taken; the random state comes last."""
        self._prepared.learner.load_state_dict(snapshot.learner)
        for name, callback in self._prepared.callbacks.items():
            if name in snapshot.callbacks:
                callback.load_state_dict(snapshot.callbacks[name])
        progress = self._trainer.progress = Progress(**snapshot.progress)
        anew = self._prepared.meters["train"].load_state_dict(snapshot.meters)
        if progress.validated < progress.epoch:
            _warn_of_rest(progress, anew if snapshot.meters else ("loss", *anew))
        _warn_of_gaps(progress, *self._history.take_back(progress.validated, progress.step))
        restore_random_state(snapshot.random)


def _warn_of_gaps(progress: Progress, steps: int, epochs: int) -> None:
    """Say that files of the run were cut or lost, which touches its record, but neither weights nor later metrics."""
    for kept, wanted, what, file in (
        (steps, progress.step - progress.skipped, "steps", STEPS),
        (epochs, progress.validated, "epochs", EPOCHS),
    ):
        if kept != wanted:
            log.warning(
                "%s holds %d of the %d %s that were trained: it was cut or lost. Training goes on exactly as it would "
                "have; plots and `reproduce` lack them.%s",
                *(file, kept, wanted, what, " MLflow has their points, if the run was tracked." * (file == STEPS)),
            )


def _warn_of_rest(progress: Progress, names: Sequence[str]) -> None:
    """Say which values of the epoch that is gone on with do not cover all of it."""
    if names and progress.batch:
        log.warning(
            "Of epoch %d, %s will cover only the batches after step %d: the checkpoint does not hold what was "
            "measured before. All later epochs are whole.",
            progress.epoch,
            " and ".join(f"train/{name}" for name in names),
            progress.step,
        )
