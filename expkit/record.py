"""Keeps the record of a run: its folder's own files, and the tracking store."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from expkit import provenance, tracking
from expkit.api import Callback, DataSpec
from expkit.config import ExperimentConfig, from_yaml
from expkit.errors import ConfigError
from expkit.export import Certificate
from expkit.export_record import recorded, track_exports
from expkit.identity import config_hash, differences
from expkit.isolation import failures
from expkit.masking import masked, recordable
from expkit.model_card import code
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
from expkit.record_store import begin_tracker, learner_tags, store_settings
from expkit.registration import register_export
from expkit.run_card import run_card, takes
from expkit.runlog import log
from expkit.runs import RECORD, best_name, run_id, write_record
from expkit.tracking.text import as_text


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
        tracker: tracking.Tracker,
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
            "mlflow_run_id": self._tracker.run_id or None,
            "choices": dict(config.choices),
            "seed": config.seed,
            "config_hash": config_hash(config.resolved),
            "reproduces": config.tracking.tags.get("reproduces"),
            "steps_per_epoch": len(prepared.batches["train"]),
            "data": _data_facts(prepared.data.spec),
        }

    @classmethod
    def open(
        cls, config: ExperimentConfig, prepared: Prepared, folder: Path, courier: tracking.Courier | None = None
    ) -> Recorder:
        """Open the store, then write the run's first files.

        Args:
            config: the experiment.
            prepared: its parts.
            folder: the run folder.
            courier: process that sends to the store; a thread of this one by default.

        Raises:
            TrackingError: the store cannot be used; nothing was written.
            ConfigError: the run folder cannot be written.
        """
        if (folder / RECORD).exists():
            raise ConfigError(f"{folder} holds a run already. Leave hydra.run.dir alone, or name an empty folder.")
        environment = provenance.environment(prepared.device)
        git = provenance.git_state(provenance.code_folder(Path.cwd()), leave_out=config.runs_dir)
        visualdl = _visualdl(config, folder)
        try:
            tracker = begin_tracker(config, prepared, folder, environment, git, courier)
        except OSError as error:
            raise _not_writable(folder, error) from error
        recorder = cls(config, prepared, folder, tracker, visualdl)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_config(folder, config)
            write_environment(folder, environment, git, prepared.tuning)
            write_record(folder, recorder._record)
        except OSError as error:
            tracker.finish("FAILED", "the run folder cannot be written")
            raise _not_writable(folder, error) from error
        store_made(tracker, folder)
        tracker.log_data(prepared.data.spec, prepared.sizes)
        tracker.set_description(run_card(config, prepared, folder))
        return recorder

    @classmethod
    def reopen(
        cls,
        config: ExperimentConfig,
        prepared: Prepared,
        folder: Path,
        record: Mapping[str, Any],
        step: int = 0,
        courier: tracking.Courier | None = None,
    ) -> Recorder:
        """Go on with the record of an interrupted run, and with its run in the store.

        Args:
            config: the experiment as it goes on.
            prepared: its parts.
            folder: the run folder.
            record: what `run.json` says.
            step: after which it goes on.
            courier: as of `open`.

        Raises:
            TrackingError: the store cannot be used; nothing was written.
            ConfigError: the run folder cannot be written.
        """
        visualdl = _visualdl(config, folder)
        try:
            if tracking.is_recorded(folder):
                store = store_settings(config, prepared, folder)
                tracker = tracking.reopen_tracker(store, folder, courier=courier)
            else:  # of an older version, or somebody removed it
                environment = provenance.environment(prepared.device)
                git = provenance.git_state(provenance.code_folder(Path.cwd()), leave_out=config.runs_dir)
                tracker = begin_tracker(config, prepared, folder, environment, git, courier)
        except OSError as error:
            raise _not_writable(folder, error) from error
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
        pairs = changed.get("config", {}).items()
        options = {f"changed.{key}": f"{as_text(then)} -> {as_text(new)}" for key, (then, new) in pairs}
        facts = {"resumed": ", ".join(resumed), "config.hash": now["config_hash"], **learner_tags(prepared.learner)}
        tracker.set_tags({**options, **facts, **config.tracking.tags})  # MLflow lets no parameter change
        return recorder

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint says of its run."""
        return {
            "id": self._record["id"],
            "mlflow_run_id": self.mlflow_run_id,
            "config_hash": self._record["config_hash"],
            "data_fingerprint": self._record["data"]["fingerprint"],
        }

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record values that a callback measured."""
        self._sinks.log_metrics(values, step)

    def watched(self) -> AbstractContextManager[None]:
        """Record what the machine does meanwhile, where that is asked for."""
        chosen, began = self._config.tracking, datetime.fromisoformat(self._record["started"]).timestamp()
        if not chosen.system_metrics:
            return nullcontext()
        every = chosen.system_metrics_every
        return tracking.SystemMonitor(self._tracker.log_metrics, self._folder, began=began, every=every)

    @property
    def mlflow_run_id(self) -> str | None:
        """Id of the MLflow run, if there is one."""
        return self._tracker.run_id or self._record["mlflow_run_id"]

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self._config.tracking.experiment or self._config.name

    def measured(self, metrics: Mapping[str, float], best_epoch: int, epochs: int) -> None:
        """Write down what `result` will record: what comes next may tear the process down, as Paddle's tracing can.

        Args:
            metrics: of the best weights.
            best_epoch: epoch of these weights.
            epochs: epochs that were trained.
        """
        attempt(
            self._folder, lambda: write_record(self._folder, self._record | self._result(metrics, best_epoch, epochs))
        )

    def _result(self, metrics: Mapping[str, float], best_epoch: int, epochs: int) -> dict[str, Any]:
        return {
            "metrics": dict(metrics),
            "best_epoch": best_epoch,
            "epochs": epochs,
            "monitor": asdict(self._prepared.monitor),
            "summary": dict(self._prepared.learner.summary()),
        }

    def result(
        self,
        metrics: Mapping[str, float],
        best_epoch: int,
        epochs: int,
        certificates: Mapping[str, Certificate],
        stopped: str = "",
    ) -> None:
        """Record the result and the exported model.

        Args:
            metrics: of the best weights.
            best_epoch: epoch of these weights.
            epochs: epochs that were trained.
            certificates: of what was exported, by format.
            stopped: why a callback ended training early.
        """
        self._record.update(self._result(metrics, best_epoch, epochs))
        if stopped:
            self._record["stopped"] = stopped
        final = {n: v for n, v in metrics.items() if n.startswith("test/")}
        if best_epoch < epochs:  # else its end says it already
            best = {best_name(n): v for n, v in metrics.items() if n.startswith("valid/")}
            self._sinks.log_metrics(best, step=epochs)
        # MLflow draws bars, one for each run, of what has no other step than 0; of others a curve, here of one point.
        self._sinks.log_metrics({**final, "valid/best_epoch": best_epoch}, step=0)
        model = self._store_exports(certificates, best_epoch) if certificates else None
        card = partial(run_card, self._config, self._prepared, self._folder)
        self._tracker.set_description(card(metrics=metrics, best_epoch=best_epoch, epochs=epochs, model=model))

    def _store_exports(self, certificates: Mapping[str, Certificate], step: int) -> tuple[str, str, str] | None:
        """Record what was exported; returns what a description says of the model in MLflow, if it is there."""
        tracker, exports, first = self._tracker, self._folder / "export", next(iter(certificates))
        self._record["export"] = recorded(certificates)
        uri = track_exports(tracker, exports, certificates, step=step, first=first).get(first)
        if uri:
            register_export(tracker, exports / first, self._record, self._config.export, step=step)
        elif self._config.export.register is not None:
            log.warning("Nor is it registered as %s.", self._config.export.register)
        example = np.load(exports / first / "example.npy")
        return (masked(tracker.uri), uri, takes(self._prepared, example)) if uri and tracker.uri else None

    def finish(self, status: str, reason: str = "", hurried: Callable[[], bool] = lambda: False) -> None:
        """Close the record.

        Args:
            status: "FINISHED", "FAILED", "KILLED", or "PAUSED", which is "KILLED" to MLflow.
            reason: in words, for the last three.
            hurried: as of `Tracker.finish`.
        """
        self._record.update(status=status, ended=_now(), **({"reason": reason} if reason else {}))
        switched_off = failures(self._prepared.callbacks)
        if switched_off:
            self._record["switched_off"] = [asdict(failure) for failure in switched_off]
            self._tracker.set_tags({"callbacks.switched_off": "; ".join(map(str, switched_off))})
        if tags := learner_tags(self._prepared.learner):
            self._tracker.set_tags(tags)
        if reason and "metrics" not in self._record:
            ended = masked(f"No result: {reason}")
            if (self._folder / "checkpoints" / "index.json").is_file():
                ended += f"\n\nTo go on:\n\n{code(shlex.join(['python', '-m', 'expkit', 'resume', str(self._folder)]))}"
            self._tracker.set_description(run_card(self._config, self._prepared, self._folder, ended=ended))
        try:
            attempt(self._folder, self._store_files)
        finally:
            for sink in self._visualdl:
                sink.close()
            self._tracker.finish("KILLED" if status == "PAUSED" else status, reason, hurried)
        self._record["mlflow_run_id"] = self.mlflow_run_id
        # Last of all: a run that is killed before this can be gone on with, and ends once more.
        attempt(self._folder, lambda: write_record(self._folder, self._record))

    def _store_files(self) -> None:
        folder, tracker = self._folder, self._tracker
        store_happened(tracker, folder, self._record)
        if self._config.tracking.checkpoints and (folder / "checkpoints" / "index.json").is_file():
            tracker.log_artifacts(folder / "checkpoints", "checkpoints")


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
        "config": differences(options, recordable(config.resolved)),
        "environment": changed_values(facts, now),
    }
    return {key: values for key, values in changed.items() if values}


def _not_writable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"the run folder {folder} cannot be written: {error.strerror}. Choose another: runs_dir=FOLDER.")


def _visualdl(config: ExperimentConfig, folder: Path) -> list[tracking.VisualDLSink]:
    """Return the second place of the scalars, if there is to be one; ask for what else has to be installed, too."""
    if config.tracking.system_metrics:
        tracking.require_psutil()
    return [tracking.VisualDLSink(folder / "visualdl")] if config.tracking.visualdl else []


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
