"""Hydra's sweeper for searches: the next combination depends on what came of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from expkit.cli.launcher import SweepLauncher
from expkit.cli.search import SearchSettings, read_settings
from expkit.cli.search_space import Wanted, as_text, read
from expkit.cli.sweep_folder import is_of_this_start
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, ExpkitError
from expkit.identity import differences
from expkit.sweeping.conduct import Plan
from expkit.sweeping.jobs import Job, Outcome
from expkit.sweeping.ledger import Row, outcome_of
from expkit.sweeping.search.ending import Ending
from expkit.sweeping.search.prepare import Ready, prepare
from expkit.sweeping.search.source import Search
from expkit.sweeping.search.space import Space, overrides
from expkit.sweeping.search.study import STORAGE, import_optuna
from expkit.sweeping.standing import aim_of, sum_up


class OptunaSweeper(Sweeper):
    """Asks Optuna what to run next, each time a place is free; its options are those of `hydra.sweeper`."""

    config: DictConfig

    def __init__(self, **options: Any) -> None:
        """Hydra hands over its options here, and in `setup` the config that they stand in."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Read the options, and make the launcher.

        Raises:
            ConfigError: an option cannot be used; Optuna is not installed; the launcher is none of ours.
        """
        self._settings: SearchSettings = read_settings(config.hydra.sweeper)
        import_optuna()
        self._loader = hydra_context.config_loader
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not isinstance(launcher, SweepLauncher):
            name = config.hydra.runtime.choices["hydra/launcher"]
            raise ConfigError(
                f"hydra/launcher={name} runs jobs in batches, and a search needs to hear of each one. Leave it out, "
                "or choose one of expkit's own, such as hydra/launcher=expkit_local."
            )
        self._launcher, self.config = launcher, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search.

        Raises:
            ConfigError: nothing was started: combinations cannot be composed, or an option has no sense.
            TrainingStoppedError: too many trials failed in a row.
            Stopped: somebody asked to stop.
        """
        launcher, conductor = self._launcher, self._launcher.conductor
        settings = self._settings
        wanted = read(settings.params, settings.conditions, arguments, self.config, self._loader)
        wanted = replace(wanted, fixed=tuple(one for one in wanted.fixed if not is_of_this_start(one)))
        rows = conductor.lock()
        self._refuse_grid(rows)

        def compose(number: int, typed: Sequence[str]) -> ExperimentConfig:
            return launcher.compose(number, [*wanted.fixed, *typed]).config

        ready = prepare(wanted.space, settings.options, compose, launcher.folder)
        try:
            launcher.begin(self._plan(wanted, ready, rows), ready.configs)
        except ExpkitError:
            ready.discard()
            raise
        self._remember(rows, wanted)
        search = self._search(wanted, ready, rows)
        title = f"{self.config.name}  |  {launcher.folder.name}"
        conductor.ending = ending = Ending(search, self._needed(wanted), launcher.folder, title)
        conductor.conduct(search)
        search.check()
        return ending.best_value()

    def _refuse_grid(self, rows: Sequence[Row]) -> None:
        folder = self._launcher.folder
        if rows and self._settings.options.storage is None and not (folder / STORAGE).is_file():
            raise ConfigError(
                f"{folder} holds no search: its jobs are those of a grid. Leave out sweep.resume to begin a search; "
                f"python -m expkit resume-sweep {folder} goes on with the grid."
            )

    def _needed(self, wanted: Wanted) -> list[str]:
        """Return the overrides of all trials with what the file of the search sets in the place of the file.

        A command without it repeats a trial as a run of its own.
        """
        typed = overrides(wanted.space.corners()[0])
        without = [one for one in wanted.fixed if not one.startswith("+search=")]
        # The file chooses the sweeper, without which `hydra.sweeper.trials=3` on the command line is an error.
        typed += ["hydra/sweeper=expkit_optuna"] if len(without) < len(wanted.fixed) else []
        try:
            then = self._launcher.compose(0, [*wanted.fixed, *typed])
            now = self._launcher.compose(0, [*without, *typed])
            changed = differences(now.config.resolved, then.config.resolved)
            needed = [*without, *(f"{key}={as_text(value)}" for key, (_, value) in changed.items())]
            same = self._launcher.compose(0, [*needed, *typed]).identity == then.identity
        except ExpkitError:
            same = False
        return needed if same else list(wanted.fixed)

    def _plan(self, wanted: Wanted, ready: Ready, rows: Sequence[Row]) -> Plan:
        names = [parameter.key.lstrip("+") for parameter in wanted.space]
        total = _total(self._settings, wanted.space)
        done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in ready.study.get_trials(deepcopy=False))
        ended = {row.number: outcome_of(row, self._launcher.folder) for row in rows}
        known = {number: outcome for number, outcome in ended.items() if outcome is not None}
        behind = sum_up(known, aim_of(ready.configs[0]), min(done, total))
        axes = [parameter.key.lstrip("+") for parameter in wanted.space if not parameter.when]
        return Plan(ready.configs[0], wanted.fixed, names, total, behind, axes)

    def _remember(self, rows: Sequence[Row], wanted: Wanted) -> None:
        """Let the jobs of earlier starts be in the table."""
        launcher, names = self._launcher, [parameter.key for parameter in wanted.space]
        jobs: list[tuple[Job, str]] = []
        outcomes: dict[int, Outcome] = {}
        for row in rows:
            outcome = outcome_of(row, launcher.folder)
            if outcome is None:
                continue  # it goes on, or is given up
            try:
                varies = [one for one in row.overrides if one.partition("=")[0] in names]
                jobs.append((launcher.make_job(row.number, row.overrides, varies), row.config))
            except ExpkitError:  # of a component that is gone, for one: it is not in the table
                continue
            outcomes[row.number] = outcome
        launcher.conductor.add(jobs, outcomes)

    def _search(self, wanted: Wanted, ready: Ready, rows: Sequence[Row]) -> Search:
        launcher, console = self._launcher, self._launcher.conductor.console

        def make_job(number: int, typed: Sequence[str]) -> Job:
            return launcher.make_job(number, [*wanted.fixed, *typed], typed)

        search = Search(
            ready.study,
            wanted.space,
            self._settings.options,
            ready.objectives,
            make_job,
            launcher.folder,
            lambda text: console.print(text, markup=False, soft_wrap=True),
            first=1 + max((row.number for row in rows), default=-1),
        )
        aims = ", ".join(f"{one.direction} {one.name}" for one in ready.objectives)
        going_on = f", {search.done} done before" if search.done else ""
        told = f"{aims} by {self._settings.options.sampler} in {search.total} trials{going_on}"
        console.print(f"{'search':<11} {told}", markup=False, soft_wrap=True)
        return search


def _total(settings: SearchSettings, space: Space) -> int:
    size, trials = space.size(), settings.options.trials
    return min(one for one in (trials, size if settings.options.sampler == "grid" else None) if one is not None)
