"""Makes a search ready: what could go wrong in any trial is looked for before the first one begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, ExpkitError
from expkit.sweeping.search import objectives
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.options import NODE, SearchOptions
from expkit.sweeping.search.space import Space, overrides
from expkit.sweeping.search.study import STORAGE, import_optuna, open_study

if TYPE_CHECKING:
    import optuna

MOST_ERRORS = 5


@dataclass(frozen=True)
class Ready:
    """A search whose space, options and study have been checked.

    Attributes:
        study: to be asked and told.
        objectives: what it is about.
        configs: of combinations that between them use every choice.
        folder: of the sweep.
    """

    study: optuna.Study
    objectives: tuple[Objective, ...]
    configs: tuple[ExperimentConfig, ...]
    folder: Path

    def discard(self) -> None:
        """Leave no study behind where no trial came to be after all."""
        if not self.study.get_trials(deepcopy=False):
            (self.folder / STORAGE).unlink(missing_ok=True)


def prepare(
    space: Space,
    options: SearchOptions,
    compose: Callable[[int, Sequence[str]], ExperimentConfig],
    folder: Path,
) -> Ready:
    """Check a few combinations that between them use every choice, find out what to optimise, and open the study.

    Args:
        space: what to search.
        options: how.
        compose: composes and checks the config of a number and of the overrides that make its trial.
        folder: of the sweep.

    Raises:
        ConfigError: Optuna is missing; combinations cannot be composed; an option of the search, or its study, cannot
            be used.
    """
    import_optuna()
    configs = check(space, compose)
    wanted = objectives.find(options, configs[0])
    epochs = max(one.trainer.epochs for one in configs)
    return Ready(open_study(options, space, wanted, folder, epochs), wanted, tuple(configs), folder)


def check(space: Space, compose: Callable[[int, Sequence[str]], ExperimentConfig]) -> list[ExperimentConfig]:
    """Compose the combinations at the corners of a space.

    Raises:
        ConfigError: some cannot be composed; says why of each.
    """
    configs: list[ExperimentConfig] = []
    errors: dict[str, list[str]] = {}
    for number, corner in enumerate(space.corners()):
        typed = overrides(corner)
        try:
            configs.append(compose(number, typed))
        except ExpkitError as error:
            errors.setdefault(str(error), typed)
    if not errors:
        return configs
    shown = [f"  {' '.join(typed)}\n    {text}" for text, typed in list(errors.items())[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        shown.append(f"  ... and {len(errors) - MOST_ERRORS} more")
    advice = (
        "An option that exists for some choices only has to say so, as in "
        f"\"{NODE}.conditions={{optimizer.momentum: 'optimizer=momentum'}}\"."
        if configs
        else "None of the combinations at the ends of the ranges can be run."
    )
    advice = " ".join([advice, *_without(space, errors)])
    what = "a combination" if len(errors) == 1 else "some combinations"
    raise ConfigError(
        f"the search would propose {what} that cannot be run; nothing was started:\n" + "\n".join([*shown, advice])
    )


def _without(space: Space, errors: Iterable[str]) -> list[str]:
    """Say how the options are left out that the errors name."""
    keys = [one.key for one in space if "." in one.key]
    named = [
        key for key in keys if any(re.search(rf"(?<![\w.]){re.escape(key.lstrip('+'))}(?![\w.])", e) for e in errors)
    ]
    return [f"To search without: '{NODE}.without=[{','.join(named)}]'."] if named else []
