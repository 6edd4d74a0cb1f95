"""One start of a run in a process of its own: to its end, to a step after which it is killed, or on from there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from expkit import config, experiment
from expkit.api import Callback, StepEnd

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Ends a process at once, whatever it does; Windows does so for SIGTERM."""


@dataclass(frozen=True)
class Trial:
    """All that another process has to know.

    Attributes:
        options: the resolved config, as YAML.
        choices: chosen option of each config group.
        overrides: what the user typed.
        folder: the run folder.
        last_step: pause after it; None to go to the end.
        kill_at: die after this step, before anything else happens; None to live.
        resume: go on with the run in the folder instead of starting one.
    """

    options: str
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    folder: Path
    last_step: int | None = None
    kill_at: int | None = None
    resume: bool = False

    def as_json(self) -> str:
        """Return it as text for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """Read what `as_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "overrides": tuple(values["overrides"]), "folder": Path(values["folder"])})


class Killed(Callback):
    """Kills the process that trains, after a step.

    Args:
        step: counts from 1.
    """

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, event: StepEnd) -> None:
        """Die, if this is the step."""
        if event.step == self._step:
            os.kill(os.getpid(), KILL)


def perform(trial: Trial) -> None:
    """Do it.

    Raises:
        ExpkitError: as `experiment.run` and `experiment.resume` do.
    """
    if trial.resume:
        secrets = config.from_yaml(trial.options)  # the run folder has none
        experiment.resume(trial.folder, last_step=trial.last_step, secrets=secrets)
        return
    made = config.stored(trial.options, choices=trial.choices, overrides=trial.overrides, folder=trial.folder)
    further = [] if trial.kill_at is None else [Killed(trial.kill_at)]
    experiment.run(made, trial.folder, last_step=trial.last_step, further=further)
