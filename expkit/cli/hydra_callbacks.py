"""Hydra's own callbacks (`hydra.callbacks`), which hear of the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Callable

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from expkit.sweeping.jobs import Job, Outcome, Report


class HydraCallbacks:
    """Tells them when a job starts and how it ended, in the process of the sweep; a `Watcher`.

    Args:
        context: of the running Hydra.
        config: what it composed of what all jobs share.
        task_function: what it would call for each job.
        returned: returns how the job of a number ended.
    """

    def __init__(
        self,
        context: HydraContext,
        config: DictConfig,
        task_function: TaskFunction,
        returned: Callable[[int], JobReturn],
    ) -> None:
        self._context, self._config, self._task, self._returned = context, config, task_function, returned
        self._configs: dict[int, DictConfig] = {}

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Tell of the first start of a job."""
        if attempt > 1:
            return
        composed = self._context.config_loader.load_sweep_config(self._config, list(job.overrides))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = job.number
            composed.hydra.runtime.output_dir = str(job.folder)
        self._configs[job.number] = composed
        self._context.callbacks.on_job_start(config=composed, task_function=self._task)

    def reported(self, job: Job, report: Report) -> None:
        """Nothing: Hydra knows of no such thing."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Tell of its end."""
        if job.number in self._configs:
            self._context.callbacks.on_job_end(
                config=self._configs.pop(job.number), job_return=self._returned(job.number)
            )

    def tick(self) -> None:
        """Nothing."""
