"""Beginning a run in a tracking store and in its folder, or going on with one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.errors import TrackingError
from expkit.tracking.carrier import Carrier
from expkit.tracking.copies import original_of, part_from_original
from expkit.tracking.courier import Courier, RemoteCarrier
from expkit.tracking.journal import BEGIN, JOURNAL, REOPEN, Journal, now_ms, recorded_points
from expkit.tracking.operations import MAX_PARAM, tidy
from expkit.tracking.schema_lock import database_file
from expkit.tracking.store import StoreSettings, remember_store, resolve_uri, user_name
from expkit.tracking.tags import DESCRIPTION
from expkit.tracking.text import as_text, clean_key, masked, shortened
from expkit.tracking.tracker import Tracker

logger = logging.getLogger("expkit.tracking")


def open_tracker(
    settings: StoreSettings,
    folder: Path,
    *,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    description: str = "",
    identity: str = "",
    courier: Courier | None = None,
) -> Tracker:
    """Begin a run: in its folder, and in the store unless `settings.enabled` says otherwise.

    Args:
        settings: where.
        folder: of the run; made where it is not there yet.
        params: every choice and resolved option by dotted name.
        tags: facts to search by: git commit, device, data source.
        description: markdown for the run's page.
        identity: of the run, which no other has; the name of its folder by default.
        courier: process that sends; a thread of this one by default.

    Raises:
        TrackingError: the store cannot be reached or written, and `settings.required` says that it has to be; says what
            to do. Nothing was written then.
        OSError: the folder cannot be written.
    """
    carrier = _ready(settings, folder, courier)
    texts = {clean_key(key): masked(as_text(value), key) for key, value in params.items()}
    long = [key for key, text in texts.items() if len(text) > MAX_PARAM]
    all_tags = {**_system_tags(), **tags}
    if description:
        all_tags[DESCRIPTION] = description
    if long:
        all_tags["params.shortened"] = ", ".join(long)
    journal = Journal(folder)
    facts = {
        "id": identity or folder.name,
        "time": now_ms(),
        "experiment": settings.experiment,
        "name": masked(settings.run_name),
        "metrics": list(settings.metrics),
        **remember_store(settings, folder),
        "params": {key: shortened(text, MAX_PARAM) for key, text in texts.items()},
        "tags": tidy(all_tags),
    }
    journal.append(BEGIN, facts)
    if carrier is not None and carrier.is_connected:
        _begin(journal, carrier, str(facts["id"]))
    return Tracker(journal, carrier)


def reopen_tracker(
    settings: StoreSettings, folder: Path, *, replays: bool = True, courier: Courier | None = None
) -> Tracker:
    """Go on with a run, in its folder and in the store; what the store has not got yet, it gets.

    Args:
        settings: where.
        folder: of the run.
        replays: it goes again through steps whose points it has recorded; these are not recorded twice.
        courier: as of `open_tracker`.

    Raises:
        TrackingError: as of `open_tracker`, or the run was deleted there.
        OSError: the folder cannot be written.
    """
    original = original_of(folder)
    if original is not None:
        logger.warning("%s is a copy of %s, which is still there: it becomes a run of its own.", folder, original)
        part_from_original(folder)
    carrier = _ready(settings, folder, courier)
    seen = recorded_points(folder) if replays else None
    if carrier is not None and carrier.is_connected:
        carrier.find_run()
    journal = Journal(folder)
    journal.append(REOPEN, {"time": now_ms()})
    return Tracker(journal, carrier, seen)


def extend_tracker(settings: StoreSettings, folder: Path) -> Tracker:
    """Add to a run that has ended; close what is returned, which leaves the run's status as it is.

    Args:
        settings: where; a store that does not answer is told later, see `sync`, and none is made.
        folder: of the run.

    Raises:
        OSError: the folder cannot be written.
    """
    file = database_file(resolve_uri(settings))
    there = settings.enabled and (file is None or file.is_file())
    return Tracker(Journal(folder), _ready(replace(settings, required=False, enabled=there), folder))


def is_recorded(folder: Path) -> bool:
    """Whether a run has a journal that can be gone on with."""
    return (folder / JOURNAL).is_file()


def _ready(settings: StoreSettings, folder: Path, courier: Courier | None = None) -> Carrier | None:
    """Open the store; None where there is to be none."""
    if not settings.enabled:
        return None
    carrier = Carrier(folder, settings) if courier is None else RemoteCarrier(courier, folder, settings)
    try:
        carrier.connect()
    except TrackingError as error:
        if settings.required:
            raise
        logger.warning("%s The run begins without it: it is tracked in its folder, and sent later.", error)
    return carrier


def _begin(journal: Journal, carrier: Carrier, identity: str) -> None:
    """Make the run in the store; where that fails, leave nothing behind."""
    try:
        carrier.begin()
    except BaseException as error:
        journal.close()
        carrier.give_up(identity, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _system_tags() -> dict[str, str]:
    """Tags that MLflow's UI has columns for."""
    return {"mlflow.user": user_name(), "mlflow.source.name": "expkit", "mlflow.source.type": "LOCAL"}
