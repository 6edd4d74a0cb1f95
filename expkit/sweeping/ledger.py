"""The ledger of a sweep: which jobs it has, and what became of each, on disk as soon as it is known.

`sweep.jsonl` is one JSON object a line, each about one job, so that an entry costs the same however many there
are. The first line is about the sweep. Where its process was killed the last line may be a part of one, which is
ignored. A sweep that goes on writes the file anew, in one step, with one line for each job.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from expkit.errors import ConfigError, RunNotFoundError
from expkit.files import write_whole
from expkit.masking import masked, recordable_override
from expkit.report import quote_path
from expkit.runs import monitored, read_record
from expkit.sweeping.jobs import FAILED, FINISHED, PRUNED, TIMEOUT, Job, Outcome, Report

LEDGER = "sweep.jsonl"
VERSION = 1
ENDS: dict[str, Any] = {"status": "", "reason": "", "value": None, "metrics": {}, "seconds": 0.0, "attempts": 1}

log = logging.getLogger("expkit")


@dataclass(frozen=True)
class Head:
    """What a ledger says of its sweep.

    Attributes:
        name: of the experiment.
        folder: of the sweep when it was written; absolute.
        cwd: folder where the command was typed.
        arguments: of the command, without passwords.
        started: when it was begun.
        version: of the format.
    """

    name: str
    folder: str
    cwd: str
    arguments: Sequence[str]
    started: str = ""
    version: int = VERSION


@dataclass(frozen=True)
class Row:
    """What a ledger says of one job.

    Attributes:
        number: in the sweep.
        folder: within that of the sweep.
        identity: hash of its config, without what changes nothing of what is learned.
        config: hash of its whole config.
        overrides: as typed.
        status: how it ended; "" while it has not.
        reason: why, in words.
        value: of the metric that says what is best.
        metrics: of its best weights.
        seconds: it took.
        attempts: processes that were started for it.
    """

    number: int
    folder: str
    identity: str
    config: str
    overrides: Sequence[str]
    status: str = ""
    reason: str = ""
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 1


class Ledger:
    """Keeps the ledger of a running sweep; a `Watcher`.

    What cannot be written, as on a full disk, is told once and costs no job: the truth about it is its own record.

    Args:
        folder: of the sweep, which is there.
        head: of the sweep; when it was begun is taken over from an earlier start.
        lost: further rows, of jobs that it had and lost.

    Raises:
        ConfigError: what lies there is no ledger that this version can read.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, head: Head, lost: Sequence[Row] = ()) -> None:
        self.folder = folder
        self.rows: dict[int, Row] = {}
        self.head = replace(head, started=head.started or _now())
        if (folder / LEDGER).exists():
            earlier, rows = read_ledger(folder)
            self.head, self.rows = replace(self.head, started=earlier.started), {row.number: row for row in rows}
        self.rows.update({row.number: row for row in lost})
        lines = [asdict(self.head), *(_row_line(row) for row in self.rows.values())]
        write_whole(folder / LEDGER, "".join(map(_line, lines)))
        self._file: IO[str] = (folder / LEDGER).open("a", encoding="utf-8")
        self._told = False

    def add(self, jobs: Iterable[tuple[Job, str]]) -> None:
        """Enter jobs that it does not have yet.

        Args:
            jobs: each with the hash of its whole config.
        """
        for job, config in jobs:
            if job.number not in self.rows:
                place = os.path.relpath(job.folder, self.folder)
                row = Row(job.number, place, job.identity, config, tuple(map(recordable_override, job.overrides)))
                self.rows[job.number] = row
                self._write(_row_line(row))
        self._keep()

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Enter that a process was started."""
        if job.number not in self.rows:  # of a search, which thinks of its jobs as it goes
            self.add([(job, "")])
        self.rows[job.number] = replace(self.rows[job.number], **ENDS)
        self._write(
            {
                "job": job.number,
                "started": _now(),
                "slot": slot,
                "attempt": attempt,
                **({"after": after} if after else {}),
            }
        )

    def reported(self, job: Job, report: Report) -> None:
        """Nothing: how far a run is can be read in its folder."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Enter how a job ended."""
        ended = {name: value for name, value in asdict(outcome).items() if name in ENDS}
        self.rows[job.number] = replace(self.rows[job.number], **ended)
        self._write({"job": job.number, "ended": _now(), **ended})
        self._keep()

    def tick(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # of what a full disk has not taken, which was told
            self._file.close()

    def _write(self, values: Mapping[str, Any]) -> None:
        try:
            self._file.write(_line(values))
            self._file.flush()  # what the system has outlives this process
        except OSError as error:
            self._tell(error)

    def _keep(self) -> None:
        """Let what was written outlive a power cut."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            log.warning("%s cannot be written: %s. The sweep goes on.", self.folder / LEDGER, error.strerror)


def read_ledger(folder: Path) -> tuple[Head, list[Row]]:
    """Read what is known of a sweep.

    Raises:
        RunNotFoundError: there is no ledger.
        ConfigError: this version cannot read it.
    """
    try:
        lines = (folder / LEDGER).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RunNotFoundError(f"{folder} is no sweep: {LEDGER} cannot be read ({error.strerror}).") from error
    first, *others = [_read_line(line) for line in lines] or [{}]
    if first.get("version") != VERSION:
        raise ConfigError(
            f"{folder / LEDGER} is of another version of expkit, or damaged in its first line. If it is damaged, "
            f"remove it, and give the sweep's command again with hydra.sweep.dir={quote_path(folder)}: its jobs are "
            "known again by their folders."
        )
    rows: dict[int, Row] = {}
    for entry in others:
        _enter(rows, entry)
    return Head(**{key: first[key] for key in Head.__dataclass_fields__ if key in first}), list(rows.values())


def outcome_of(row: Row, folder: Path) -> Outcome | None:
    """Return how a job ended, so that nothing has to be done any more; None where it was interrupted or not begun.

    Its own record is believed rather than the ledger: the process of the sweep may have died before the job ended.

    Args:
        row: of the ledger.
        folder: of the sweep.
    """
    try:
        record = read_record(folder / row.folder)
    except RunNotFoundError:  # it failed before it had one, or somebody removed it
        record = {}
    if record.get("status") == FINISHED:
        return Outcome(FINISHED, "", monitored(record), dict(record.get("metrics", {})), row.seconds, row.attempts)
    if row.status == PRUNED and record:
        return Outcome(PRUNED, row.reason, row.value, row.metrics, row.seconds, row.attempts)
    if row.status in (FAILED, TIMEOUT) or record.get("status") == FAILED:
        reason = row.reason or str(record.get("reason", ""))
        return Outcome(row.status or FAILED, reason, row.value, row.metrics, row.seconds, row.attempts)
    return None


def find_sweeps(runs_dir: Path, name: str = "*") -> list[Path]:
    """Return the folders of the sweeps of an experiment, or of all, the one that was begun last at the end."""
    found = []
    for ledger in runs_dir.glob(f"{name}/*/{LEDGER}"):
        try:
            with ledger.open(encoding="utf-8", errors="replace") as file:
                found.append((str(_read_line(file.readline()).get("started", "")), str(ledger), ledger.parent))
        except OSError:
            continue
    return [folder for _, _, folder in sorted(found)]


def find_sweep(reference: str, runs_dir: Path, name: str = "*") -> Path:
    """Return the folder of the sweep that a user means.

    Args:
        reference: its folder, or the last part of its name, or "last".
        runs_dir: where runs are.
        name: of the experiment that is meant; any by default.

    Raises:
        RunNotFoundError: there is none, or more than one.
    """
    if (Path(reference) / LEDGER).is_file():
        return Path(reference).absolute()
    sweeps = find_sweeps(runs_dir, name)
    where = runs_dir if name == "*" else runs_dir / name
    if not sweeps:
        raise RunNotFoundError(f"no sweep {reference!r}: there are no sweeps in {where}. A sweep is begun with -m.")
    if reference == "last":
        return sweeps[-1].absolute()
    fitting = [one for one in sweeps if one.name == reference or one.name.endswith(f"-{reference}")]
    if len(fitting) == 1:
        return fitting[0].absolute()
    newest = ", ".join(one.name for one in sweeps[-3:])
    many = f"{len(fitting)} sweeps are called {reference!r}" if fitting else f"no sweep {reference!r} in {where}"
    raise RunNotFoundError(f"{many}. The newest are {newest}; a folder or `last` will do as well.")


def _enter(rows: dict[int, Row], entry: Mapping[str, Any]) -> None:
    number = entry.get("job")
    if number is None:
        return
    if "identity" in entry:
        rows[number] = Row(number, **{k: entry[k] for k in Row.__dataclass_fields__ if k in entry})
    elif number in rows:
        values = entry if "ended" in entry else {**ENDS, "attempts": entry.get("attempt", 1)}
        rows[number] = replace(rows[number], **{key: values[key] for key in ENDS if key in values})


def _row_line(row: Row) -> dict[str, Any]:
    values = asdict(row)
    ends = {key: values[key] for key in ENDS} if row.status else {}
    fixed = {key: values[key] for key in values if key not in ENDS and key != "number"}
    return {"job": row.number, **fixed, **ends}


def _line(values: Mapping[str, Any]) -> str:
    return masked(json.dumps(values, default=str)) + "\n"


def _read_line(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
