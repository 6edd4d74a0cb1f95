"""What Hydra calls for each experiment, and what the command line has to know of a sweep when Hydra is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from expkit.cli.report import report

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig
    from expkit.sweeping.conduct import Conductor


class Task:
    """Runs one experiment that Hydra composed: a single one, or a job of a launcher that is not ours.

    Args:
        act: what is done with it and the folder that Hydra made for it.
        arguments: of the command line.

    Attributes:
        failures: what was raised, in this process.
        sweeps: folders of sweeps of launchers that are not ours.
        conductor: of the sweep, where the launcher is ours.
    """

    def __init__(self, act: Callable[[ExperimentConfig, Path], float], arguments: Sequence[str]) -> None:
        self.act, self.arguments = act, tuple(arguments)
        self.failures: list[BaseException] = []
        self.sweeps: set[Path] = set()
        self.conductor: Conductor | None = None

    def keep(self, conductor: Conductor) -> None:
        """Take over a sweep, to close it when Hydra is done."""
        self.conductor = conductor

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only this process has, where a launcher sends it to another one."""
        return {**self.__dict__, "conductor": None}

    def __call__(self, composed: DictConfig) -> float | None:
        """Run it and show its error at once; Hydra would show those of a sweep late, and only the first."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra_config = HydraConfig.get()
        if hydra_config.mode == RunMode.MULTIRUN:
            self.sweeps.add(Path(hydra_config.sweep.dir).absolute())
        in_process = str(hydra_config.launcher.get("_target_", "")).endswith("BasicLauncher")
        try:
            return self._run(composed)
        except Exception as error:
            self.failures.append(error)
            if hydra_config.mode == RunMode.RUN:
                return None
            report(error, what=f"job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)})")
            if in_process:
                return None
            raise

    def _run(self, composed: DictConfig) -> float:
        from hydra.core.hydra_config import HydraConfig

        from expkit import config

        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        # `hydra.job.chdir=true` has moved us into the folder; runs still belong where the command was typed.
        runs_dir = Path(hydra_config.runtime.cwd) / composed.runs_dir
        plain = OmegaConf.create(composed)
        if Path.cwd() != Path(hydra_config.runtime.cwd):
            plain.runs_dir = str(runs_dir)
        elif folder.is_relative_to(runs_dir):
            # A run makes it again when it begins. Killed before that, it would leave a folder that nobody knows.
            with contextlib.suppress(OSError):  # a callback of Hydra's has put something there
                folder.rmdir()
        try:
            parsed = config.parse(
                plain,
                choices=dict(hydra_config.runtime.choices),
                overrides=list(hydra_config.overrides.task),
            )
            return self.act(parsed, folder)
        finally:
            _remove_empty(folder, runs_dir)


def _remove_empty(folder: Path, runs_dir: Path) -> None:
    """Remove the folder that Hydra made for a run that never began, up to `runs_dir`, where nothing is in it."""
    for path in (folder, *folder.parents):
        if not path.is_relative_to(runs_dir):
            return
        with contextlib.suppress(OSError):  # not empty, or gone already: it stays as it is
            path.rmdir()
