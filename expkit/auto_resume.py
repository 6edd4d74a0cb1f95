"""`trainer.auto_resume`: the same command again goes on with the run that it began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit import config as configs
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, RunNotFoundError
from expkit.identity import config_hash, differences
from expkit.runs import RECORD, all_runs, read_record

_STATES = {
    "FINISHED": "done: this is what it came to",
    "RUNNING": "its process has died; it goes on",
    "KILLED": "was stopped; it goes on",
    "PAUSED": "was paused; it goes on",
    "FAILED": "failed; it is tried again from its last checkpoint",
}


def find_earlier(config: ExperimentConfig, folder: Path) -> Path | None:
    """Return the newest run of the same config; None where there is none.

    Args:
        config: the experiment.
        folder: where it would be written. A run that is there already has to be the one.

    Raises:
        ConfigError: that folder holds another run; names what differs.
    """
    wanted = config_hash(config.resolved)
    if (folder / RECORD).is_file():
        if read_record(folder).get("config_hash") == wanted:
            return folder
        raise ConfigError(
            f"trainer.auto_resume: {folder} holds another run: {_what_differs(folder, config)}. "
            "Leave hydra.run.dir alone, or name another folder."
        )
    found = [run for run in all_runs(config.runs_dir) if _record(run).get("config_hash") == wanted]
    return max(found, key=lambda run: str(_record(run).get("started", "")), default=None)


def what_becomes_of(record: Mapping[str, Any]) -> str:
    """Say what an earlier run is like, and what is done with it."""
    status = str(record.get("status"))
    return f"is of this config: {_STATES.get(status, f'{status}; it goes on')}"


def _record(run: Path) -> Mapping[str, Any]:
    """Read a record; a damaged one is empty, and that of a reproduction is none of a run to go on with."""
    try:
        record = read_record(run)
    except RunNotFoundError:
        return {}
    return {} if record.get("reproduces") else record


def _what_differs(folder: Path, config: ExperimentConfig) -> str:
    try:
        then = configs.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "its config cannot be read"
    found = [f"{key} was {old!r}, is {new!r}" for key, (old, new) in differences(then, config.resolved).items()]
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return "; ".join(found[:4]) + more or "it is of an older version of expkit"
