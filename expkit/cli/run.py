"""Everything on the command line that is not a verb: Hydra overrides that make an experiment or a sweep."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.cli.arguments import config_dirs, flags_first
from expkit.cli.task import Task
from expkit.errors import ConfigError, ExpkitError
from expkit.files import why_unwritable
from expkit.paths import ROOT_CONFIG, conf_dir

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

    from expkit import config, own_code
    from expkit.cli.loading import in_each_job
    from expkit.cli.plugins import chosen_by_default
    from expkit.cli.plugins import register as register_plugins

    config.register()
    register_plugins()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us whole; `cli.report` shortens them
    for folder in config_dirs(arguments):
        own_code.add_root(folder.parent)
        own_code.add_root(folder)
    own_code.reach()
    before = sys.argv
    sys.argv = ["expkit", *in_each_job(flags_first(arguments))]
    task = Task(act, arguments)
    try:
        with chosen_by_default():
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=ROOT_CONFIG)(task)()
    except OSError as error:  # not of an experiment, whose errors are in `failures`: Hydra makes the run's folder
        _close(task, error)
        if task.failures or isinstance(error, HydraException) or error.filename is None:
            raise
        why = why_unwritable(Path(str(error.filename)), error)
        raise ConfigError(
            f"the runs folder cannot be written: {error.filename}: {why}. Choose another: runs_dir=FOLDER."
        ) from error
    except BaseException as error:
        _close(task, error)
        raise
    finally:
        sys.argv = before
    return _end(task)


def _end(task: Task) -> int:
    """Show what came of it; returns the exit code."""
    code = _close(task)
    _conclude(task)
    if task.failures and task.sweeps:
        sys.stderr.write(f"{len(task.failures)} of the sweep's jobs failed.\n")
        return 1
    if task.failures:
        raise task.failures[0]
    return code


def _close(task: Task, error: BaseException | None = None) -> int:
    """Let go of a sweep, and say how one that was interrupted goes on."""
    if task.conductor is not None:
        return task.conductor.close(error)
    if task.sweeps and isinstance(error, KeyboardInterrupt):
        sys.stderr.write(
            "The sweep ends here: its later jobs are not begun. The same command with trainer.auto_resume=true "
            "goes on with it, and does nothing again that is done.\n"
        )
    elif error is not None:  # of a job of a launcher that ends with the first that fails
        with contextlib.suppress(ExpkitError, OSError):
            _conclude(task)
    return 0


def _conclude(task: Task) -> None:
    if task.sweeps:
        from expkit.sweeping.ranking import conclude_folders  # a single run has no use for it

        for sweep in task.sweeps:
            conclude_folders(sweep)
