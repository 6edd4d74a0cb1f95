"""Hydra's launcher for sweeps: all combinations are composed and checked, then trained by an executor.

A sweeper that thinks of its jobs as it goes uses it as `expkit_grid` does, without `launch`::

    launcher = Plugins.instance().instantiate_launcher(...)    # in its setup
    rows = launcher.conductor.lock()                           # refuses a second process; the jobs of earlier starts
    first = launcher.compose(0, overrides)                     # raises ConfigError
    launcher.begin(Plan(first.config, shared, varies, jobs))   # ledger, MLflow run, screen
    launcher.conductor.conduct(source)                         # jobs are made by launcher.make_job(number, overrides)

The command line closes the conductor, which shows the results.
"""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from expkit import config as configs
from expkit import own_code
from expkit.cli.composing import Composer
from expkit.cli.hydra_callbacks import HydraCallbacks
from expkit.cli.sweep_folder import find_folder, recorded
from expkit.cli.task import Task as CommandTask
from expkit.config import ExperimentConfig, to_yaml
from expkit.errors import ConfigError, TrainingStoppedError
from expkit.masking import recordable
from expkit.report import quote_path
from expkit.settings import SweepSettings
from expkit.sweeping.conduct import Conductor, Plan
from expkit.sweeping.console import lasting_console
from expkit.sweeping.grid import (
    Combination,
    Grid,
    Task,
    plan,
    refuse_strangers,
    varying,
    without_twins,
)
from expkit.sweeping.jobs import FINISHED, PENDING, PRUNED, Executor, Job, Outcome, has_checkpoint
from expkit.sweeping.ledger import Head, Row
from expkit.sweeping.needs import Need, need_of, widest
from expkit.sweeping.pool import LocalPool
from expkit.sweeping.salvage import refuse_strange_runs
from expkit.sweeping.standing import aim_of, sum_up


class SweepLauncher(Launcher):
    """Conducts sweeps; who runs their jobs is up to its subclasses.

    Attributes:
        settings: node `sweep` of the config.
        folder: of the sweep; absolute.
        conductor: of the sweep.
        knows_all: whether `launch` is called once, with all jobs that there are.
    """

    knows_all = False

    config: DictConfig
    settings: SweepSettings
    folder: Path
    conductor: Conductor

    @abstractmethod
    def executor(self, needs: Sequence[Need], jobs: int | None) -> Executor:
        """Return who runs the jobs, by `settings`.

        Args:
            needs: what the jobs ask for.
            jobs: how many are left to run; None where that is not known.

        Raises:
            ConfigError: there is no such device here; nothing was started.
        """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Find the folder of the sweep.

        Raises:
            ConfigError: the sweep's options cannot be used.
            RunNotFoundError: there is no sweep to go on with.
        """
        if not isinstance(task_function, CommandTask):
            raise ConfigError("this launcher runs the sweeps of `python -m expkit -m` only.")
        if config.hydra.job.chdir:
            raise ConfigError(
                "hydra.job.chdir=true: the jobs of a sweep run where the command was typed, as a single run does. "
                "Leave it out; hydra/launcher=basic, which runs them one after another in one process, can do it."
            )
        setup_globals()
        self.config = config
        self.settings = configs.sweep_settings(config.sweep)
        arguments = recorded(task_function.arguments)
        self.folder = find_folder(config, self.settings.resume, arguments)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.dir = str(self.folder)
        head = Head(str(config.name), str(self.folder), os.getcwd(), arguments)  # noqa: PTH109
        self._console = lasting_console()
        self._composer = Composer(hydra_context.config_loader, config, self.folder, self._console)
        self.conductor = Conductor(self.folder, head, self._console)
        if hydra_context.callbacks.callbacks:
            self.conductor.watch(HydraCallbacks(hydra_context, config, task_function, self.returned))
        task_function.keep(self.conductor)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of these combinations that are still to be done.

        Raises:
            ConfigError: some cannot be composed; all of these are named, and nothing was started or written.
            Stopped: somebody asked to stop.
        """
        combinations = self._composer.compose_all(job_overrides, initial_job_idx)
        single = without_twins(combinations)
        rows = self.conductor.lock()
        if not self.conductor.begun:
            refuse_strangers(single, rows, self.folder, self._config_of(rows))
        tasks = plan(single, rows, self.folder, first=initial_job_idx, retry_failed=self.settings.retry_failed)
        refuse_strange_runs(tasks, self.folder)
        if not self.conductor.begun:
            self._begin_grid(tasks)
            self._tell(len(combinations) - len(single), tasks, rows)
        different = varying([task.combination.overrides for task in tasks])
        jobs = [self._job(task, varies) for task, varies in zip(tasks, different, strict=True)]
        known = {task.number: task.outcome for task in tasks if task.outcome is not None}
        self.conductor.add([(job, task.combination.whole) for job, task in zip(jobs, tasks, strict=True)], known)
        failed = {task.number for task in tasks if task.again}
        left = [job for job in jobs if job.number not in known]
        # What failed may do so again, and must not keep the others from beginning by sweep.on_error=stop.
        self.conductor.conduct(Grid(sorted(left, key=lambda job: job.number in failed)))
        if self.knows_all:  # our own sweeper has no use for what others learn from, and reading each config takes time
            return []
        numbers = {task.combination.whole: task.number for task in tasks}
        return [self.returned(numbers[one.whole]) for one in combinations]

    def compose(self, number: int, overrides: Sequence[str]) -> Combination:
        """Compose and check one combination.

        Raises:
            ConfigError: it is none of a run.
        """
        return self._composer.compose(number, overrides)

    def make_job(self, number: int, overrides: Sequence[str], varies: Sequence[str] = ()) -> Job:
        """Compose the job of a combination that a search thought of; the sweep has begun.

        Args:
            number: of the job in the sweep.
            overrides: of the whole command, those that all jobs share among them.
            varies: those of them that they do not.

        Raises:
            ConfigError: it is none of a run.
        """
        one = self.compose(number, overrides)
        subfolder = str(number) if one.subfolder is None else one.subfolder
        return self._job(Task(one, number, self.folder / subfolder), tuple(varies) or tuple(overrides))

    def begin(self, plan: Plan, configs: Sequence[ExperimentConfig] = ()) -> None:
        """Begin to write: the ledger, the run that stands for the sweep, and Hydra's own `multirun.yaml`.

        Args:
            plan: what is known of the sweep.
            configs: of all jobs that differ in the devices they ask for; by default that of the plan.

        Raises:
            TrackingError: the store cannot be used; nothing was written.
            ConfigError: there is no such device here; nothing was written.
        """
        needs = list(dict.fromkeys(map(need_of, configs or [plan.config])))
        self.conductor.begin(plan, self.executor(needs, plan.left))
        whole = OmegaConf.to_container(self.config, resolve=False)
        (self.folder / "multirun.yaml").write_text(to_yaml(recordable(whole)), encoding="utf-8")

    def _begin_grid(self, tasks: Sequence[Task]) -> None:
        different = varying([task.combination.overrides for task in tasks])
        names = dict.fromkeys(one.partition("=")[0].lstrip("+") for overrides in different for one in overrides)
        first = tasks[0].combination
        shared = [one for one in first.overrides if one not in different[0]]
        outcomes = {task.number: task.outcome for task in tasks if task.outcome is not None}
        jobs = len(tasks) if self.knows_all else None
        plan = Plan(first.config, shared, tuple(names), jobs, sum_up(outcomes, aim_of(first.config)))
        self.begin(plan, [task.combination.config for task in tasks])

    def _job(self, task: Task, varies: tuple[str, ...]) -> Job:
        one, made, parent = task.combination, task.combination.config, self.conductor.parent
        tracking, trainer = dict(made.resolved["tracking"]), dict(made.resolved["trainer"])
        tracking["tags"] = {**tracking["tags"], **parent.tags(task.number)}
        tracking["run_name"] = parent.run_name(task.number, varies, made.choices, tracking["run_name"])
        tracking["experiment"] = parent.experiment(tracking["experiment"])
        tracking["required"] = False  # it was there when the sweep began: a job need not fail while it is down
        trainer["auto_resume"] = False  # a job belongs to its folder
        used = made.resolved.get(own_code.KEY, {})
        own_code.write(self.folder, used, shared=True)  # it may change before the job begins
        return Job(
            number=task.number,
            folder=task.folder,
            overrides=one.overrides,
            varies=varies,
            config=configs.to_yaml({**made.resolved, "tracking": tracking, "trainer": trainer}),
            choices=made.choices,
            identity=one.identity,
            environment=one.environment,
            resume=task.resume,
            epochs=made.trainer.epochs,
        )

    def returned(self, number: int) -> JobReturn:
        """Return how a job ended in Hydra's terms."""
        job = self.conductor.jobs[number]
        outcome = self.conductor.outcomes.get(number, Outcome(PENDING, "it was not begun"))
        composed = cast(DictConfig, OmegaConf.create(job.config))
        returned = JobReturn(list(job.overrides), composed, task_name="expkit")
        if outcome.status in (FINISHED, PRUNED):
            returned.status, returned.return_value = JobStatus.COMPLETED, outcome.value
        else:
            returned.status = JobStatus.FAILED
            returned.return_value = TrainingStoppedError(f"job {number}: {outcome.reason or outcome.status}")
        return returned

    def _tell(self, twins: int, tasks: Sequence[Task], rows: Sequence[Row]) -> None:
        """Say what is not as one might think from the command."""
        if twins:
            many = f"{twins} combinations are" if twins > 1 else "1 combination is"
            self._console.print(f"{many} another one again (the same config): each config runs once", markup=False)
        if not rows:
            return
        done = sum(task.outcome is not None and task.outcome.status in (FINISHED, PRUNED) for task in tasks)
        bad = sum(task.outcome is not None for task in tasks) - done
        failed = sum(task.again for task in tasks)
        again = sum(task.resume and not task.again and has_checkpoint(task.folder) for task in tasks)
        counts = {
            "done": done,
            "failed (sweep.retry_failed=true tries them again)": bad,
            "to go on with": again,
            "to begin": len(tasks) - done - bad - again - failed,
            "to try again": failed,
            "that this command leaves out": len({row.number for row in rows} - {task.number for task in tasks}),
        }
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        self._console.print(f"{'resume':<11} {quote_path(self.folder)}: {told}", soft_wrap=True, markup=False)

    def _config_of(self, rows: Sequence[Row]) -> Any:
        """Return the config of one of the sweep's runs, as plain values; None where there is none."""
        for row in rows:
            with contextlib.suppress(OSError, ValueError):
                return configs.from_yaml((self.folder / row.folder / "config.yaml").read_text(encoding="utf-8"))
        return None


class LocalLauncher(SweepLauncher):
    """Runs each job in a process of its own on this machine: as many at a time as `sweep.devices` has places for.

    Args:
        options: of another launcher, which a file sets that chooses it and that the command line outvotes.
    """

    def __init__(self, **options: Any) -> None:
        """Take no notice of them."""

    def executor(self, needs: Sequence[Need], jobs: int | None) -> Executor:
        """Return the processes of this machine; few jobs share all of its cores.

        Raises:
            ConfigError: a device is not here.
        """
        pool = LocalPool(self.settings, widest(needs), self._console, jobs=jobs)
        for need in needs:
            pool.refuse_unfit(need)
        return pool
