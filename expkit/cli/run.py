"""Everything on the command line that is not a verb: Hydra overrides that make an experiment or a sweep."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from expkit.cli.arguments import flags_first
from expkit.cli.report import report
from expkit.errors import ConfigError
from expkit.paths import ROOT_CONFIG, conf_dir
from expkit.sweeping.ranking import conclude_folders

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig


def run_experiment(config: ExperimentConfig, folder: Path) -> float:
    """Run one composed experiment and return what a search would optimise."""
    from expkit import experiment

    return experiment.run(config, folder).monitored


def main(arguments: list[str], act: Callable[[ExperimentConfig, Path], float] = run_experiment) -> int:
    """Compose and run; Hydra's own flags (`-m`, `--cfg job`, ...) may stand anywhere.

    Args:
        arguments: of the command line, without the program.
        act: what is done with each composed experiment and the folder that Hydra made for it.

    Returns:
        The exit code.
    """
    import hydra
    from hydra.errors import HydraException

    from expkit import config

    config.register()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us whole; `cli.report` shortens them
    before = sys.argv
    sys.argv = ["expkit", *flags_first(arguments)]
    failures: list[BaseException] = []
    sweeps: set[Path] = set()
    multirun = any(argument in ("-m", "--multirun") for argument in arguments)
    try:
        task = partial(_guarded, failures, sweeps, act)
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=ROOT_CONFIG)(task)()
    except KeyboardInterrupt:
        if multirun:
            sys.stderr.write(
                "The sweep ends here: its later jobs are not begun. The same command with trainer.auto_resume=true "
                "goes on with it, and does nothing again that is done.\n"
            )
        raise
    except OSError as error:  # not of an experiment, whose errors are in `failures`: Hydra makes the run's folder
        if failures or isinstance(error, HydraException):
            raise
        raise ConfigError(
            f"the runs folder cannot be written: {error.filename}: {error.strerror}. Choose another: runs_dir=FOLDER."
        ) from error
    finally:
        sys.argv = before
    for sweep in sweeps:
        conclude_folders(sweep)
    if failures and multirun:
        sys.stderr.write(f"{len(failures)} of the sweep's jobs failed.\n")
        return 1
    if failures:
        raise failures[0]
    return 0


def _guarded(
    failures: list[BaseException],
    sweeps: set[Path],
    act: Callable[[ExperimentConfig, Path], float],
    composed: DictConfig,
) -> float | None:
    """Run an experiment and show its error at once; Hydra would show those of a sweep late, and only the first."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        sweeps.add(Path(hydra_config.sweep.dir).absolute())
    in_process = str(hydra_config.launcher.get("_target_", "")).endswith("BasicLauncher")
    try:
        return _task(act, composed)
    except Exception as error:
        failures.append(error)
        if hydra_config.mode == RunMode.RUN:
            return None
        report(error, what=f"job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)})")
        if in_process:
            return None
        raise


def _task(act: Callable[[ExperimentConfig, Path], float], composed: DictConfig) -> float:
    """Do with one composed experiment what is to be done."""
    from hydra.core.hydra_config import HydraConfig

    from expkit import config

    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # `hydra.job.chdir=true` has moved us into the folder; runs still belong where the command was typed.
    runs_dir = Path(hydra_config.runtime.cwd) / composed.runs_dir
    plain = OmegaConf.create(composed)
    if Path.cwd() != Path(hydra_config.runtime.cwd):
        plain.runs_dir = str(runs_dir)
    try:
        parsed = config.parse(
            plain,
            choices=dict(hydra_config.runtime.choices),
            overrides=list(hydra_config.overrides.task),
        )
        return act(parsed, folder)
    finally:
        _remove_empty(folder, runs_dir)


def _remove_empty(folder: Path, runs_dir: Path) -> None:
    """Remove the folder that Hydra made for a run that never began, up to `runs_dir`, where nothing is in it."""
    for path in (folder, *folder.parents):
        if not path.is_relative_to(runs_dir):
            return
        with contextlib.suppress(OSError):  # not empty, or gone already: it stays as it is
            path.rmdir()
