"""What the run folders of a sweep tell where its ledger does not: after a power cut, or a hand in the folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit import config as configs
from expkit.errors import ConfigError, RunNotFoundError
from expkit.identity import differences
from expkit.masking import recordable_override
from expkit.past import is_changeable
from expkit.report import quote_path
from expkit.runs import RECORD, read_record, seconds_of
from expkit.sweeping.grid import Task, whole_hash
from expkit.sweeping.ledger import LEDGER, Row

_SHOWN = 4


def lost_rows(sweep: Path, rows: Sequence[Row]) -> list[Row]:
    """Return rows for the runs in the folder of a sweep that its ledger does not know, so that none is begun twice.

    How each one ended is for `ledger.outcome_of` to read in its record.

    Args:
        sweep: its folder; locked.
        rows: of the ledger.
    """
    known, taken = {row.folder for row in rows}, {row.number for row in rows}
    unknown = [path.parent for path in sweep.glob(f"*/{RECORD}") if path.parent.name not in known]
    numbered = [one for one in unknown if one.name.isdigit() and int(one.name) not in taken]
    found = {int(one.name): one for one in numbered}
    number = max([-1, *taken, *found])
    for folder in sorted(set(unknown) - set(numbered)):
        number += 1
        found[number] = folder
    return [_row(number, folder) for number, folder in sorted(found.items())]


def say_what_was_lost(sweep: Path, lost: Sequence[Row]) -> str:
    """Say that a ledger is damaged, and what became of its jobs; empty where it is whole.

    Args:
        sweep: its folder.
        lost: rows that the ledger has not, as `lost_rows` finds them.
    """
    if not (lost or _is_damaged(sweep / LEDGER)):
        return ""
    what = "has lost lines" if (sweep / LEDGER).exists() else "is not there"
    told = f"{quote_path(sweep / LEDGER)} {what}, as after a power cut"
    numbers = ", ".join(str(row.number) for row in lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
    jobs = f"{len(lost)} job{'s' * (len(lost) != 1)} of its run folders ({numbers}) {'is' if len(lost) == 1 else 'are'}"
    return f"{told}; {jobs} taken in from there" if lost else f"{told}; how its jobs ended was read in their folders"


def refuse_strange_runs(tasks: Sequence[Task], sweep: Path) -> None:
    """Refuse a sweep in whose folders other runs lie than those of its jobs.

    A run that was gone on with by itself, with more epochs or on another device, is still the run of its job.

    Raises:
        ConfigError: a run is of another config, or damaged; names what differs, and the command that puts it away.
    """
    told = [(task, what) for task in tasks if (what := _what_is_strange(task))]
    if not told:
        return
    many = "1 job" if len(told) == 1 else f"{len(told)} jobs"
    lines = [f"{many} of {quote_path(sweep)} cannot be run: other runs lie in the way; none was started."]
    for task, what in told[:_SHOWN]:
        lines.append(f"  job {task.number}: {quote_path(task.folder)} {what}.")
    lines += [f"  ... and {len(told) - _SHOWN} more."] if len(told) > _SHOWN else []
    first = told[0][0].folder
    away = sweep.with_name(f"{sweep.name}-{first.name}")
    lines.append(f"Put such a folder elsewhere, and its job begins anew: mv {quote_path(first)} {quote_path(away)}")
    raise ConfigError("\n".join(lines))


def _what_is_strange(task: Task) -> str:
    if not (task.folder / RECORD).is_file():
        return ""
    try:
        record = read_record(task.folder)
    except RunNotFoundError:
        return f"holds a run whose {RECORD} is damaged"
    if record.get("config_hash") in (None, task.combination.identity):
        return ""
    changed = differences(_config(task.folder), task.combination.config.resolved)
    strange = {key: pair for key, pair in changed.items() if not is_changeable(key)}
    told = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in list(strange.items())[:_SHOWN])
    return f"holds the run of another config: {told}" if strange else ""


def _row(number: int, folder: Path) -> Row:
    try:
        record = read_record(folder)
    except RunNotFoundError:  # whose it is will not be known again; its number is taken
        record = {}
    config = _config(folder)
    return Row(
        number=number,
        folder=folder.name,
        identity=str(record.get("config_hash", "")),
        config=whole_hash(config) if config else "",
        overrides=_overrides(folder),
        seconds=seconds_of(record) or 0.0,
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        return dict(configs.from_yaml((folder / "config.yaml").read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return {}


def _overrides(folder: Path) -> tuple[str, ...]:
    try:
        typed = configs.from_yaml((folder / "overrides.yaml").read_text(encoding="utf-8"))
        return tuple(recordable_override(str(one)) for one in typed or ())
    except (OSError, TypeError, ValueError):
        return ()


def _is_damaged(ledger: Path) -> bool:
    """Whether a line of it is none: each was written as a whole."""
    try:
        text = ledger.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    if text and not text.endswith("\n"):
        return True
    try:
        return not all(isinstance(json.loads(line), dict) for line in text.splitlines())
    except ValueError:
        return True
