"""Runs whose journals were not sent whole: their server was down, or their process was killed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from expkit.errors import ConfigError, RunLockedError, RunNotFoundError, TrackingError
from expkit.lock import RunLock, holder_is_elsewhere, is_locked
from expkit.report import quote_path
from expkit.runs import read_record, write_record
from expkit.tracking.delivery import Delivery
from expkit.tracking.journal import END, JOURNAL, Journal, beginning, is_open
from expkit.tracking.store import StoreSettings
from expkit.tracking.text import masked

log = logging.getLogger("expkit.tracking")

UNSENT = ".unsent"
"""Folder in the runs folder with a small file for each run that is not wholly in its store."""


class Marker:
    """Says that a run is not wholly in its store yet, so that nobody has to look through all runs for these.

    Args:
        runs_dir: folder of all runs.
        folder: of the run.
    """

    def __init__(self, runs_dir: Path, folder: Path) -> None:
        place = os.path.relpath(folder.absolute(), runs_dir.absolute())
        self._path = runs_dir / UNSENT / hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        with contextlib.suppress(OSError):  # without it `sync` finds the run all the same
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(place, encoding="utf-8", errors="surrogateescape")

    def remove(self) -> None:
        """It is in the store now."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # where others are left it stays


def left_behind(runs_dir: Path) -> Iterator[Path]:
    """Yield the folders of runs that are not wholly in their stores, those that are running among them."""
    found = []
    with contextlib.suppress(OSError):
        found = sorted((runs_dir / UNSENT).iterdir(), key=lambda path: path.name)
    for path in found:
        with contextlib.suppress(OSError):
            folder = runs_dir / path.read_text(encoding="utf-8", errors="surrogateescape")
            if (folder / JOURNAL).is_file():
                yield folder.resolve()
            else:  # somebody removed the run
                path.unlink(missing_ok=True)


def send_left_behind(
    settings: StoreSettings, more: Callable[[], bool] = lambda: True, *, but: Path | None = None
) -> int:
    """Send what earlier runs left behind for a store, and record of those whose process died that it did.

    What cannot be sent now is left for the next time.

    Args:
        settings: of the store, which answers.
        more: asked before each call of the store; False ends it early.
        but: a run that is left alone.

    Returns:
        How many runs were completed.
    """
    done = 0
    for folder in left_behind(settings.runs_dir):
        if not more():
            break
        if (but is not None and folder == but.resolve()) or not is_abandoned(folder):
            continue
        try:
            theirs = settings_of(folder, settings.uri)
            if theirs is not None and theirs.uri == settings.uri:
                done += send(folder, theirs, more) == ""
        except (TrackingError, ConfigError, RunLockedError, OSError) as error:
            log.debug("%s is not sent now: %s", folder, error)
    return done


def send(
    folder: Path,
    settings: StoreSettings,
    more: Callable[[], bool] = lambda: True,
    *,
    ended: tuple[str, str] | None = None,
) -> str:
    """Send what is left of one run that no process is working on.

    Args:
        folder: of the run.
        settings: of its store.
        more: asked before each call of the store; False ends it early.
        ended: status and reason, where somebody knows how a run ended that could not say so itself.

    Returns:
        What is left still, in words; empty when nothing is.

    Raises:
        TrackingError: the store does not answer.
        RunLockedError: a process is working on the run.
        ConfigError: the folder cannot be written.
    """
    with RunLock(folder):
        if ended is not None or is_open(folder):
            _record_end(folder, *(ended or how_it_ended(folder)))
        delivery = Delivery(folder, settings)
        try:
            delivery.deliver(more)
        finally:
            left = delivery.left()
            _remember_id(folder, delivery.sent.run_id)
        if not left:
            Marker(settings.runs_dir, folder).remove()
        return left


def is_abandoned(folder: Path) -> bool:
    """Whether no living process works on a run, as far as this machine can tell."""
    return not is_locked(folder) and not holder_is_elsewhere(folder)


def settings_of(folder: Path, uri: str | None = None) -> StoreSettings | None:
    """Return where a run is to be recorded by its own journal; None where it has no readable one.

    Args:
        folder: of the run.
        uri: of a store, with its password; taken where the journal names the same without.
    """
    facts = beginning(folder)
    if facts is None:
        return None
    runs_dir = (folder / facts["runs_dir"]).resolve()
    recorded = facts["uri"]
    known = uri if uri is not None and recorded == masked(uri) else recorded
    names = tuple(facts["metrics"])
    return StoreSettings(known, facts["experiment"], facts["name"], runs_dir, runs_dir / "mlartifacts", names)


def _remember_id(folder: Path, run_id: str) -> None:
    """Write down the id that the run has in the store, where it had none when it was trained."""
    with contextlib.suppress(RunNotFoundError, OSError):  # of a sweep's own run there is no such record
        record = read_record(folder)
        if run_id and record.get("mlflow_run_id") != run_id:
            write_record(folder, {**record, "mlflow_run_id": run_id})


def _record_end(folder: Path, status: str, reason: str) -> None:
    """Write down how a run ended whose process could not; when, is when it last wrote."""
    last = int((folder / JOURNAL).stat().st_mtime_ns // 1_000_000)
    journal = Journal(folder)
    journal.append(END, {"status": status, "reason": reason, "time": last})
    journal.close()


def how_it_ended(folder: Path) -> tuple[str, str]:
    """Return status and reason of a run whose journal does not say them: its record may, or its process died."""
    with contextlib.suppress(RunNotFoundError):
        record = read_record(folder)
        status = "KILLED" if record.get("status") == "PAUSED" else record.get("status")
        if status in ("FINISHED", "FAILED", "KILLED"):
            return status, record.get("reason", "")
    verb = "resume-sweep" if folder.name.startswith("sweep-") else "resume"
    again = f"python -m expkit {verb} {quote_path(folder)}"
    return "FAILED", f"its process died: killed, out of memory, or a power cut. Go on with it: {again}"
