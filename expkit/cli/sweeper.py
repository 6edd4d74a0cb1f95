"""Hydra's sweeper for grids: every combination of the values, all of them known before the first is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from expkit.cli.launcher import SweepLauncher
from expkit.cli.sweep_folder import is_of_this_start
from expkit.cli.task import Task as CommandTask
from expkit.errors import ConfigError


class GridSweeper(Sweeper):
    """The product of all choices; with other launchers than ours, Hydra's basic sweeper.

    Args:
        max_batch_size: for other launchers.
        params: values to go through, as on the command line.
    """

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        # Not to be imported before Hydra has looked for plugins, when it makes this class anew.
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        self._basic = BasicSweeper(max_batch_size, dict(params or {}))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take in what Hydra composed of what all jobs share."""
        self.hydra_context, self.config, self._task = hydra_context, config, task_function
        self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.launcher = self._basic.launcher

    def sweep(self, arguments: list[str]) -> Any:
        """Run every combination.

        Raises:
            ConfigError: a combination cannot be composed, or an option cannot have several values.
            Stopped: somebody asked to stop.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._basic._parse_config(), *arguments])
        _refuse(overrides)
        if not isinstance(self.launcher, SweepLauncher):
            if isinstance(self._task, CommandTask):  # which does not hear of jobs in other processes
                self._task.sweeps.add(Path(self.config.hydra.sweep.dir).absolute())
            return self._basic.sweep(arguments)
        most = self._basic.max_batch_size
        if most is not None:
            raise ConfigError(
                f"hydra.sweeper.max_batch_size={most}: jobs are not run in batches, one begins when a place is free. "
                f"At most {most} at a time: sweep.jobs={most}."
            )
        kept = [one for one in overrides if not is_of_this_start(str(one.input_line))]
        (combinations,) = self._basic.split_arguments(kept, None)
        self.launcher.knows_all = True
        return [self.launcher.launch(combinations, initial_job_idx=0)]


def _refuse(overrides: Sequence[Override]) -> None:
    for one in overrides:
        if not one.is_sweep_override():
            continue
        key = one.get_key_element().lstrip("+")
        if key.startswith("sweep.") or key == "sweep":
            raise ConfigError(f"{one.input_line}: an option of the whole sweep has one value.")
        if not one.is_discrete_sweep():
            raise ConfigError(
                f"{one.input_line}: a grid needs values one can count: 0.1,0.01 or choice(...) or range(...)."
            )
        if not any(True for _ in one.sweep_string_iterator()):
            raise ConfigError(f"{one.input_line}: there is no such value, so that the sweep has no jobs.")
