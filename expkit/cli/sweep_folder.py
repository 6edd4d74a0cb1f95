"""Where a sweep lies, and what its ledger keeps of the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from expkit.errors import ConfigError, ExpkitError
from expkit.masking import recordable_override
from expkit.report import quote_path
from expkit.sweeping.ledger import LEDGER, find_sweep, find_sweeps, read_ledger


def find_folder(config: DictConfig, wanted: str | None, arguments: Sequence[str]) -> Path:
    """Return the folder of a sweep: a new one, or that of the sweep which is to go on.

    Args:
        config: what Hydra composed of what all jobs share.
        wanted: `sweep.resume`.
        arguments: of the command, as `recorded` returns them.

    Raises:
        RunNotFoundError: there is no such sweep.
        ConfigError: another sweep lies there.
    """
    runs_dir, name = Path(config.runs_dir), str(config.name)
    if wanted is not None:
        return find_sweep(wanted, runs_dir, name)
    folder = Path(config.hydra.sweep.dir).absolute()
    auto = bool(OmegaConf.select(config, "trainer.auto_resume", default=False))
    if (folder / LEDGER).exists():
        if auto:
            return folder
        raise ConfigError(
            f"{folder} holds a sweep already. Go on with it: sweep.resume={quote_path(folder)}. For a new one "
            "leave hydra.sweep.dir alone, or name an empty folder."
        )
    same = [one for one in find_sweeps(runs_dir, name) if auto and _is_of_this_command(one, arguments)]
    return same[-1].absolute() if same else folder


def recorded(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command that repeat it, without passwords and without what only this start wanted."""
    return [recordable_override(one) for one in arguments if not is_of_this_start(one)]


def is_of_this_start(override: str) -> bool:
    """Whether an override says how a sweep goes on, so that no job of it is to remember it."""
    return override.startswith(("sweep.resume=", "sweep.retry_failed="))


def _is_of_this_command(sweep: Path, arguments: Sequence[str]) -> bool:
    try:
        then = read_ledger(sweep)[0].arguments
    except ExpkitError:
        return False
    return _compared(then) == _compared(arguments)


def _compared(arguments: Sequence[str]) -> list[str]:
    """Return of the arguments of a command what makes its sweep: not how it is spread."""
    return sorted(one for one in arguments if not one.startswith("sweep."))
