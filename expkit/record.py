"""Keeps the record of a run: its folder's own files, and the tracking store."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from expkit import provenance, registry, tracking
from expkit.api import Callback, DataSpec
from expkit.config import ExperimentConfig, from_yaml
from expkit.errors import ConfigError
from expkit.export import Certificate
from expkit.identity import config_hash, differences
from expkit.model_card import describe_run
from expkit.preparation import Prepared
from expkit.record_files import (
    attempt,
    changed_values,
    git_facts,
    store_happened,
    store_made,
    warn_of_changes,
    write_config,
    write_environment,
)
from expkit.runs import RECORD, write_record
from expkit.tracking import masked

EXAMPLE_SAMPLES = 2
CARD_CHOICES = tuple(kind.config_group for kind in registry.KINDS)


class Recorder:
    """Writes what is known of a run while it is known.

    Attributes:
        run_id: name of the run folder, or "sweep/number" for a job of a sweep.
        callback: records metrics during training.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        prepared: Prepared,
        folder: Path,
        tracker: tracking.NullTracker,
        visualdl: Sequence[tracking.VisualDLSink] = (),
    ) -> None:
        self._config, self._prepared, self._folder, self._tracker = config, prepared, folder, tracker
        self.run_id = run_id(folder)
        self._visualdl = visualdl
        self._sinks = tracking.Sinks([tracker, *self._visualdl])
        self.callback: Callback = tracking.TrackingCallback(self._sinks, log_every=config.tracking.log_every)
        self._record: dict[str, Any] = {
            "id": self.run_id,
            "name": config.name,
            "status": "RUNNING",
            "started": _now(),
            "mlflow_run_id": self.mlflow_run_id,
            "choices": dict(config.choices),
            "seed": config.seed,
            "config_hash": config_hash(config.resolved),
            "reproduces": config.tracking.tags.get("reproduces"),
            "steps_per_epoch": len(prepared.batches["train"]),
            "data": _data_facts(prepared.data.spec),
        }

    @classmethod
    def open(cls, config: ExperimentConfig, prepared: Prepared, folder: Path) -> Recorder:
        """Open the store, then write the run's first files.

        Raises:
            TrackingError: the store cannot be used; nothing was written.
            ConfigError: the run folder cannot be written.
        """
        if (folder / RECORD).exists():
            raise ConfigError(f"{folder} holds a run already. Leave hydra.run.dir alone, or name an empty folder.")
        environment = provenance.environment(prepared.device)
        git = provenance.git_state(provenance.code_folder(Path.cwd()), leave_out=config.runs_dir)
        visualdl = _visualdl(config, folder)
        tracker = _open_tracker(config, prepared, folder, environment, git)
        recorder = cls(config, prepared, folder, tracker, visualdl)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_config(folder, config)
            write_environment(folder, environment, git, prepared.tuning)
            write_record(folder, recorder._record)
        except OSError as error:
            tracker.finish("FAILED", "the run folder cannot be written")
            raise ConfigError(
                f"the run folder {folder} cannot be written: {error.strerror}. Choose another: runs_dir=FOLDER."
            ) from error
        store_made(tracker, folder)
        tracker.log_data(prepared.data.spec, prepared.sizes)
        tracker.set_description(recorder._card({}))
        return recorder

    @classmethod
    def reopen(
        cls,
        config: ExperimentConfig,
        prepared: Prepared,
        folder: Path,
        record: Mapping[str, Any],
        step: int = 0,
        pending: Sequence[Sequence[Any]] = (),
    ) -> Recorder:
        """Go on with the record of an interrupted run, and with its run in the store.

        Args:
            config: the experiment as it goes on.
            prepared: its parts.
            folder: the run folder.
            record: what `run.json` says.
            step: after which it goes on.
            pending: points that the store had not taken when the checkpoint was written.

        Raises:
            TrackingError: the store cannot be used, or has no such run; nothing was written.
        """
        run_id, visualdl = record.get("mlflow_run_id"), _visualdl(config, folder)
        tracker = tracking.NullTracker()
        if run_id and config.tracking.kind != "none":
            tracker = tracking.reopen_tracker(_store_settings(config, prepared, folder), str(run_id))
        recorder = cls(config, prepared, folder, tracker, visualdl)
        kept = {key: value for key, value in record.items() if key not in ("ended", "reason")}
        resumed = [*record.get("resumed", ()), _now()]
        now: dict[str, Any] = {"status": "RUNNING", "resumed": resumed, "config_hash": config_hash(config.resolved)}
        recorder._record = {**kept, **now, "choices": dict(config.choices)}
        changed = _changed_since(folder, config, prepared)
        warn_of_changes(changed.get("environment", {}))
        if changed:
            recorder._record["resumed_otherwise"] = [*record.get("resumed_otherwise", ()), {"step": step, **changed}]
        write_config(folder, config)
        write_record(folder, recorder._record)
        store_made(tracker, folder)
        tracker.log_data(prepared.data.spec, prepared.sizes)
        tracker.set_tags({"resumed": ", ".join(resumed), "config.hash": now["config_hash"], **config.tracking.tags})
        tracker.put_back(pending)
        return recorder

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint says of its run: which one, and the points that the store has not taken yet."""
        return {
            "id": self._record["id"],
            "mlflow_run_id": self._record["mlflow_run_id"],
            "config_hash": self._record["config_hash"],
            "data_fingerprint": self._record["data"]["fingerprint"],
            "pending": [list(point) for point in self._tracker.pending()],
        }

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record values that a callback measured."""
        self._sinks.log_metrics(values, step)

    @property
    def tracked(self) -> bool:
        """Whether there is an MLflow run."""
        return self.mlflow_run_id is not None

    @property
    def mlflow_run_id(self) -> str | None:
        """Id of the MLflow run, if there is one."""
        return self._tracker.run_id or None

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self._config.tracking.experiment or self._config.name

    def result(
        self,
        metrics: Mapping[str, float],
        best_epoch: int,
        epochs: int,
        certificate: Certificate | None,
        stopped: str = "",
    ) -> None:
        """Record the result and the exported model.

        Args:
            metrics: of the best weights.
            best_epoch: epoch of these weights.
            epochs: epochs that were trained.
            certificate: of the export, if there is one.
            stopped: why a callback ended training early.
        """
        self._record.update(
            metrics=dict(metrics),
            best_epoch=best_epoch,
            epochs=epochs,
            monitor=asdict(self._prepared.monitor),
            summary=dict(self._prepared.learner.summary()),
            **({"stopped": stopped} if stopped else {}),
        )
        tracker = self._tracker
        final = {n: v for n, v in metrics.items() if n.startswith("test/")}
        final.update({f"valid/best_{n[6:]}": v for n, v in metrics.items() if n.startswith("valid/")})
        self._sinks.log_metrics({**final, "valid/best_epoch": best_epoch}, step=best_epoch)
        model_uri = None
        if certificate is not None:
            self._record["export"] = asdict(certificate)
            tracker.set_tags({f"export.{key}": str(value) for key, value in asdict(certificate).items()})
            raw, _ = self._prepared.data.valid.gather(np.arange(min(EXAMPLE_SAMPLES, len(self._prepared.data.valid))))
            model_uri = tracker.log_model(self._folder / "export", raw, step=best_epoch)
        tracker.set_description(self._card(metrics, best_epoch, epochs, model_uri))

    def finish(self, status: str, reason: str = "") -> None:
        """Close the record.

        Args:
            status: "FINISHED", "FAILED", "KILLED", or "PAUSED", which is "KILLED" to MLflow.
            reason: in words, for the last three.
        """
        self._record.update(status=status, ended=_now(), **({"reason": reason} if reason else {}))
        try:
            attempt(self._folder, self._store_files)
        finally:
            for sink in self._visualdl:
                sink.close()
            self._tracker.finish("KILLED" if status == "PAUSED" else status, reason)
        # Last of all: a run that is killed before this can be gone on with, and ends once more.
        attempt(self._folder, lambda: write_record(self._folder, self._record))

    def _store_files(self) -> None:
        folder, tracker = self._folder, self._tracker
        store_happened(tracker, folder, self._record)
        if self._config.tracking.checkpoints and (folder / "checkpoints" / "index.json").is_file():
            tracker.log_artifacts(folder / "checkpoints", "checkpoints")

    def _card(
        self, metrics: Mapping[str, float], best_epoch: int = 0, epochs: int = 0, model_uri: str | None = None
    ) -> str:
        spec, config = self._prepared.data.spec, self._config
        predict = shlex.join(["python", "-m", "expkit", "predict", str(self._folder)])
        return describe_run(
            experiment=config.name,
            choices={kind: config.choices[kind] for kind in CARD_CHOICES if config.choices.get(kind)},
            data_name=spec.name,
            data_source=f"{spec.source.kind}: {spec.source.location}",
            stand_in_for=spec.source.stand_in_for,
            fingerprint=spec.fingerprint,
            sizes=self._prepared.sizes,
            metrics=metrics,
            best_epoch=best_epoch,
            epochs=epochs,
            facts={"seed": str(config.seed), "device": self._prepared.device, "folder": str(self._folder)},
            repeat=command(config),
            predict=f"{predict} FILE..." if config.export.enabled else "",
            model_uri=model_uri,
        )


def run_id(folder: Path) -> str:
    """Id of a run from its folder: "20261123-120000-ab12cd", or "sweep-20261123-120000-ab12cd.3" for a sweep's job."""
    return f"{folder.parent.name}.{folder.name}" if folder.name.isdigit() else folder.name


def _changed_since(folder: Path, config: ExperimentConfig, prepared: Prepared) -> dict[str, Any]:
    """Return what is otherwise than when the run began or last went on: {"config": ..., "environment": ...}."""
    git = git_facts(provenance.git_state(provenance.code_folder(Path.cwd()), leave_out=config.runs_dir))
    now = {**provenance.environment(prepared.device), "git": git, "tuning": dict(prepared.tuning)}
    try:
        options = from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged or of an older version: the record says what it can
        return {}
    changed = {
        "config": differences(options, config.resolved),
        "environment": changed_values(facts, now),
    }
    return {key: values for key, values in changed.items() if values}


def _visualdl(config: ExperimentConfig, folder: Path) -> list[tracking.VisualDLSink]:
    return [tracking.VisualDLSink(folder / "visualdl")] if config.tracking.visualdl else []


def _open_tracker(
    config: ExperimentConfig,
    prepared: Prepared,
    folder: Path,
    environment: Mapping[str, Any],
    git: provenance.GitState | None,
) -> tracking.NullTracker:
    if config.tracking.kind == "none":
        return tracking.NullTracker()
    spec, chosen = prepared.data.spec, config.tracking
    tags = {
        "data.name": spec.name,
        "data.source": f"{spec.source.kind}: {spec.source.location}",
        "data.fingerprint": spec.fingerprint,
        "device": prepared.device,
        "run.folder": str(folder.absolute()),
        "command": command(config),
        "config.hash": config_hash(config.resolved),
        "monitor": str(prepared.monitor),
        **{f"version.{name}": version for name, version in environment["versions"].items()},
        **{f"git.{key}": str(value) for key, value in git_facts(git).items() if key != "prefix"},
        **prepared.tuning,
        **chosen.tags,
    }
    if spec.source.stand_in_for:
        tags["data.stand_in_for"] = spec.source.stand_in_for
    if git is not None:
        tags["mlflow.source.git.commit"] = git.commit
    store = _store_settings(config, prepared, folder)
    return tracking.open_tracker(store, params=config.parameters(), tags=tags)


def _store_settings(config: ExperimentConfig, prepared: Prepared, folder: Path) -> tracking.StoreSettings:
    spec, chosen = prepared.data.spec, config.tracking
    names = [c.name for c in (config.model, config.optimizer) if c is not None] or [config.learner.name]
    told = f"{spec.name}: " if spec.source.stand_in_for else ""
    label = told + "-".join([*names, run_id(folder).rpartition("-")[2]])
    return tracking.StoreSettings(
        uri=chosen.uri,
        experiment=chosen.experiment or config.name,
        run_name=chosen.run_name or label,
        runs_dir=config.runs_dir.absolute(),
        artifact_root=(config.runs_dir / "mlartifacts").absolute(),
        metrics=tuple(config.metrics),
    )


def command(config: ExperimentConfig) -> str:
    """Return the command line that repeats a run, without passwords."""
    return masked(shlex.join(["python", "-m", "expkit", *config.overrides]))


def _data_facts(spec: DataSpec) -> dict[str, Any]:
    """Return what the weights of a run need to be asked without its data."""
    return {
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "source": {key: value and masked(value) for key, value in asdict(spec.source).items()},
        "input": spec.input.describe(),
        "target": spec.target.describe(),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
