"""Exports a checkpoint of an earlier run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit import tracking
from expkit.errors import ConfigError
from expkit.export import Exported, Exporter, facts_about
from expkit.export.formats import require
from expkit.export_record import model_name, recorded, track_exports
from expkit.lock import RunLock
from expkit.past import PastRun, check_secrets, read_past
from expkit.preparation import prepare
from expkit.registration import register_export
from expkit.runs import read_record, run_id, write_record
from expkit.settings import ExportSettings
from expkit.tracking.copies import original_of
from expkit.tracking.left_behind import settings_of
from expkit.tracking.operations import RUN_ID


@dataclass(frozen=True)
class RunExport:
    """What came of exporting a run.

    Attributes:
        folder: which holds the exports, each in a folder named as its format.
        epoch: of the weights.
        exported: certificates, and what was refused.
        models: URIs in MLflow, by format.
        registered: which version of a registered model it became, in words; empty where none.
    """

    folder: Path
    epoch: int
    exported: Exported
    models: Mapping[str, str]
    registered: str = ""


def export_run(folder: Path, settings: ExportSettings, which: str = "best", into: Path | None = None) -> RunExport:
    """Export a checkpoint of a run, and record that in the run; or into another folder, and leave the run alone.

    Args:
        folder: the run folder.
        settings: formats, tolerance, and so on.
        which: "best" or "last" checkpoint.
        into: where to; by default, `export/` in the run's folder.

    Raises:
        RunNotFoundError: the folder is no run.
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the data is not that of the run, or not here; or other weights of the run are exported already.
        LockedError: the run is being trained.
    """
    require(settings.formats)
    record = read_record(folder)
    if settings.register is not None:
        _refuse_registration(which, into, record)
    if into is not None:
        return _export(read_past(folder), settings, which, into)
    if which != "best" and record.get("export"):
        raise ConfigError(
            f"{folder}/export holds the best weights, and would hold others under the same name. Name another folder "
            f"for the {which} ones: --output DIR."
        )
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder} cannot be written. Name another folder for the export: --output DIR.")
    with RunLock(folder, "is being used by"):
        done = _export(read_past(folder), settings, which, folder / "export")
        if done.exported.certificates:
            return _record(folder, done, settings)
        return done


def _export(past: PastRun, settings: ExportSettings, which: str, into: Path) -> RunExport:
    check_secrets(past)
    with Exporter(settings) as exporter:
        snapshot = past.checkpoints.load(which)
        prepared = prepare(past.config, training=False)
        past.check_data(prepared.data.spec)
        prepared.learner.load_state_dict(snapshot.learner)
        epoch = int(snapshot.progress["epoch"])
        exported = exporter.export(prepared.learner, prepared.data, into, _facts(past, which, epoch))
    return RunExport(into, epoch, exported, {})


def _facts(past: PastRun, which: str, epoch: int) -> dict[str, Any]:
    same = which == "best" and past.record.get("best_epoch") == epoch
    metrics = past.record.get("metrics", {}) if same else {}
    return facts_about(past.config, past.record.get("id", run_id(past.folder)), metrics, epoch=epoch)


def _refuse_registration(which: str, into: Path | None, record: Mapping[str, Any]) -> None:
    """Refuse to register what is no model of a run with a result."""
    why = "the run has no result yet" if "metrics" not in record else ""
    why = why or ("only a run's best weights have the metric that is compared" if which != "best" else "")
    why = why or ("an export in another folder is no model of the run in MLflow" if into is not None else "")
    if why:
        raise ConfigError(f"--register: {why}. Leave it out, or export the best weights without --output.")


def _record(folder: Path, done: RunExport, chosen: ExportSettings) -> RunExport:
    record = read_record(folder)
    before = record.get("export") or {}
    known = {} if "samples" in before else before  # an older version knew one format only
    certificates = done.exported.certificates
    record = {**record, "export": {**known, **recorded(certificates)}}
    write_record(folder, record)
    original, settings = original_of(folder), settings_of(folder)
    if original is not None or settings is None:  # the latter of a version before there were journals
        if chosen.register is not None:
            why = (
                "has no journal, from which the run could be brought into MLflow"
                if original is None
                else (f"is a copy of {original}: register that")
            )
            raise ConfigError(f"--register: {folder} {why}.")
        return done
    tracker = tracking.extend_tracker(settings, folder)
    try:
        first = next(iter({**known, **certificates}))
        models = track_exports(tracker, done.folder, certificates, step=done.epoch, first=first)
        for name in list(models)[:1]:
            called = model_name(name, first)
            register_export(tracker, done.folder / name, record, chosen, model=called, step=done.epoch)
    finally:
        tracker.close()
    registered = tracker.told[-1] if chosen.register is not None and tracker.told else ""
    found = {name: uri.replace(RUN_ID, tracker.run_id) for name, uri in models.items() if tracker.run_id}
    return RunExport(done.folder, done.epoch, done.exported, found, registered)
