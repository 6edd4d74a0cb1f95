"""For verbs that do something else than a run with an experiment that is composed as a run would be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.cli import run
from expkit.cli.arguments import check, is_flag
from expkit.cli.experiments import experiment_names
from expkit.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig


def with_experiment(verb: str, overrides: list[str], act: Callable[[ExperimentConfig], int]) -> int:
    """Compose one experiment and do something with it.

    Args:
        verb: such as "check", for messages.
        overrides: behind the verb; Hydra's flags among them.
        act: returns an exit code.

    Returns:
        That exit code; 0 where a flag such as `--cfg` asked for something else.

    Raises:
        ExpkitError: these are no overrides of one experiment, or it cannot be composed; or as `act` does.
    """
    _refuse(verb, overrides)
    results: list[int] = []

    def note(config: ExperimentConfig, folder: Path) -> float:
        results.append(act(config))
        return 0.0

    with tempfile.TemporaryDirectory() as scratch:
        # Hydra makes a folder for each run; this one is gone when we are done.
        escaped = scratch.replace("'", "\\'")
        run.main([*overrides, f"hydra.run.dir='{escaped}'"], note)
    return max(results, default=0)


def _refuse(verb: str, overrides: list[str]) -> None:
    check(overrides)
    for argument in overrides:
        if argument in ("-m", "--multirun"):
            raise ConfigError(f"{verb} looks at one experiment at a time; leave out -m and give each option one value.")
    first = overrides[0]
    if is_flag(first) or "=" in first or first[0] in "+~":
        return
    known = experiment_names()
    if first in known:
        raise ConfigError(f"{first!r} is an experiment. Write: python -m expkit {verb} +experiment={first}")
    raise ConfigError(
        f"{first!r}: an override is written key=value, an experiment +experiment=NAME.{did_you_mean(first, known)}"
    )
