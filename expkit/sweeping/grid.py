"""Which jobs a grid of combinations has, and which of them are still to be done."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.config import ExperimentConfig
from expkit.errors import ConfigError
from expkit.identity import differences, flat
from expkit.masking import without_passwords
from expkit.report import quote_path
from expkit.runs import RECORD
from expkit.sweeping.jobs import FINISHED, PRUNED, Job, Outcome, Report
from expkit.sweeping.ledger import Row, outcome_of

_SWEEPS_OWN = ("sweep.", "tracking.", "runs_dir", "trainer.auto_resume", "trainer.progress")


@dataclass(frozen=True)
class Combination:
    """One combination of a sweep, composed and checked.

    Attributes:
        overrides: as typed.
        config: of its run.
        subfolder: within the folder of the sweep; None for its number.
        environment: variables of its process.
        identity: hash of its config, without what changes nothing of what is learned.
        whole: hash of all its config but what the sweep itself sets.
    """

    overrides: tuple[str, ...]
    config: ExperimentConfig
    subfolder: str | None
    environment: Mapping[str, str]
    identity: str
    whole: str


@dataclass(frozen=True)
class Task:
    """What is to be done about one combination.

    Attributes:
        combination: it.
        number: of its job in the sweep.
        folder: of its run.
        outcome: how it ended in an earlier start; None where it is to run.
        resume: it was interrupted, and goes on.
        again: it failed, and is tried again.
    """

    combination: Combination
    number: int
    folder: Path
    outcome: Outcome | None = None
    resume: bool = False
    again: bool = False


class Grid:
    """Jobs that are all known before the first starts; a `Source`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = list(reversed(jobs))

    def next(self) -> Job | None:
        """Return the next job; None when there is none."""
        return self._waiting.pop() if self._waiting else None

    def reported(self, job: Job, report: Report) -> bool:
        """Let it run on."""
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Learn nothing from it."""


def whole_hash(resolved: Mapping[str, Any]) -> str:
    """Return a hash of all of a resolved config, what changes nothing of what is learned among it.

    Two ways to load the same batches are one run by its identity, but two jobs of a sweep that compares how fast they
    are. Only what the sweep itself decides on is left out.
    """
    plain = flat(without_passwords(resolved))
    kept = {key: value for key, value in plain.items() if not key.startswith(_SWEEPS_OWN)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def without_twins(combinations: Sequence[Combination]) -> list[Combination]:
    """Return combinations without those that are another one again, such as of seed=1,1 or learning_rate=0.1,1e-1."""
    return list({one.whole: one for one in reversed(combinations)}.values())[::-1]


def varying(all_overrides: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return of each job's overrides those that not all jobs share."""
    counts = Counter(override for overrides in all_overrides for override in dict.fromkeys(overrides))
    return [tuple(one for one in overrides if counts[one] < len(all_overrides)) for overrides in all_overrides]


def plan(
    combinations: Sequence[Combination], rows: Sequence[Row], sweep: Path, *, first: int = 0, retry_failed: bool = False
) -> list[Task]:
    """Say what is to be done about each combination.

    A job of an earlier start is known again by its config, and keeps its number; what is new gets the next ones.

    Args:
        combinations: without twins.
        rows: what the ledger has from earlier starts.
        sweep: its folder.
        first: number of the first job, where there were none before.
        retry_failed: do again what failed.

    Raises:
        ConfigError: two jobs would share a folder.
    """
    known = _match(combinations, rows)
    taken = {row.number for row in rows}
    numbers = (number for number in itertools.count(max(taken, default=first - 1) + 1) if number >= first)
    tasks = []
    for place, one in enumerate(combinations):
        row = known.get(place)
        if row is None:
            number = next(numbers)
            subfolder = str(number) if one.subfolder is None else one.subfolder
            tasks.append(Task(one, number, sweep / subfolder))
            continue
        outcome, folder = outcome_of(row, sweep), sweep / row.folder
        if outcome is not None and not (retry_failed and outcome.status not in (FINISHED, PRUNED)):
            tasks.append(Task(one, row.number, folder, outcome))
        else:
            there = (folder / RECORD).is_file()
            tasks.append(Task(one, row.number, folder, resume=there, again=outcome is not None))
    _refuse_shared_folders(tasks, {sweep / row.folder: row.number for row in rows})
    return tasks


def refuse_strangers(combinations: Sequence[Combination], rows: Sequence[Row], sweep: Path, then: Any) -> None:
    """Refuse to go on with a sweep that has none of the combinations: it is another one.

    Args:
        combinations: of this command.
        rows: of the ledger.
        sweep: its folder.
        then: config of one of its runs, as plain values; None where there is none.

    Raises:
        ConfigError: it is; names what differs.
    """
    if not rows or _match(combinations, rows):
        return
    changed = differences(then, combinations[0].config.resolved) if isinstance(then, Mapping) else {}
    told = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in list(changed.items())[:4])
    jobs, place = "1 job" if len(rows) == 1 else f"{len(rows)} jobs", quote_path(sweep)
    raise ConfigError(
        f"none of the {jobs} of {place} is in this command{f': {told}' if told else ''}. Leave out sweep.resume to "
        f"begin a new sweep; python -m expkit resume-sweep {place} goes on with that one as it was."
    )


def _match(combinations: Sequence[Combination], rows: Sequence[Row]) -> dict[int, Row]:
    """Return the row of each combination that has one, by its place.

    The same config is the same job; where there is none, one that differs in what changes nothing of what is learned.
    """
    left = {row.number: row for row in rows}
    found: dict[int, Row] = {}
    for key, mine in (("config", "whole"), ("identity", "identity")):
        by_key: dict[str, list[Row]] = {}
        for row in left.values():
            by_key.setdefault(getattr(row, key), []).append(row)
        for place, one in enumerate(combinations):
            same = by_key.get(getattr(one, mine), [])
            if place not in found and same:
                found[place] = same.pop(0)
                del left[found[place].number]
    return found


def _refuse_shared_folders(tasks: Sequence[Task], known: Mapping[Path, int]) -> None:
    owners = dict(known)
    for task in tasks:
        other = owners.setdefault(task.folder, task.number)
        if other != task.number:
            raise ConfigError(
                f"hydra.sweep.subdir: jobs {other} and {task.number} would both be written to {task.folder}. Name "
                "folders by what varies, or leave it alone: each job's folder is then its number."
            )
