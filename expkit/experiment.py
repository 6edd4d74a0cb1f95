"""The composition root: one experiment from its config to its result."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from expkit import report
from expkit.api import Array, LearnerState
from expkit.callbacks import CheckpointCallback, History
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.config import ExperimentConfig
from expkit.errors import ExpkitError, TrainingStoppedError
from expkit.export import Certificate, export_model
from expkit.interrupts import StopRequests
from expkit.preparation import Prepared, prepare
from expkit.progress import progress_callback, show_seconds
from expkit.record import Recorder
from expkit.runlog import RunLog, log
from expkit.seeding import random_state
from expkit.trainer import Interrupted, Trainer


@dataclass(frozen=True)
class Result:
    """What an experiment came to.

    Attributes:
        folder: the run folder.
        metrics: "valid/..." and "test/..." of the best epoch's weights; "train/..." as measured during that epoch.
        best_epoch: counts from 1.
        monitored: value of the monitored metric in that epoch, what a search optimises.
        certificate: of the export; None where nothing was exported.
    """

    folder: Path
    metrics: Mapping[str, float]
    best_epoch: int
    monitored: float
    certificate: Certificate | None


def run(config: ExperimentConfig, folder: Path, console: Console | None = None) -> Result:
    """Train, evaluate, plot and export one experiment; everything it writes lies in `folder` and the tracking store.

    Nothing is written before every part of the experiment was built.

    Args:
        config: the experiment.
        folder: the run folder, empty or not there yet.
        console: where to show progress; the screen by default.

    Raises:
        ExpkitError: a mistake of the user's; the run, if it had begun, is marked FAILED.
        Stopped: somebody asked to stop; the run is marked KILLED, and a checkpoint saved if a step was done (not when
            a second Ctrl-C tore the step).
    """
    console = console or report.make_console()
    started = time.perf_counter()
    with RunLog() as run_log:
        prepared = prepare(config)
        with StopRequests() as stop:
            with stop.shielded():
                recorder = Recorder.open(config, prepared, folder)
                run_log.write_to(folder / "run.log")
            result = _recorded(_Run(config, prepared, folder, console, recorder, stop), recorder, stop)
            log.info("done in %s", show_seconds(time.perf_counter() - started))
    if stop():  # it came while the record was closed: this run is whole, but a sweep must not go on
        raise stop.stopped()
    return result


def _recorded(run: _Run, recorder: Recorder, stop: StopRequests) -> Result:
    """Complete a run and record how it ended; the record is never torn apart by a signal."""
    try:
        result = run.complete()
    except (Interrupted, KeyboardInterrupt) as interrupt:
        log.warning("Stopped by a signal. What was trained is kept in %s", run.folder)
        with stop.shielded():
            recorder.finish("KILLED", str(stop.stopped()))
        raise stop.stopped() from interrupt
    except BaseException as error:
        # The traceback belongs to the log; the screen gets what the command line makes of the error.
        log.info("failed: %s", error, exc_info=not isinstance(error, ExpkitError))
        with stop.shielded():
            recorder.finish("FAILED", f"{type(error).__name__}: {error}")
        raise
    with stop.shielded():
        recorder.finish("FINISHED")
    return result


class _Run:
    """The phases of one run, each a method; they share what was prepared."""

    def __init__(
        self,
        config: ExperimentConfig,
        prepared: Prepared,
        folder: Path,
        console: Console,
        recorder: Recorder,
        interrupted: Callable[[], bool],
    ) -> None:
        self.config, self.prepared, self.folder, self.interrupted = config, prepared, folder, interrupted
        self.console, self.recorder = console, recorder
        self.checkpoints = CheckpointFolder(folder / "checkpoints")
        self.history = History(folder)
        self.title = f"{config.name}  |  {prepared.data.spec.name}  |  {recorder.run_id}"
        self.trainer = Trainer(
            prepared.learner,
            prepared.batches["train"],
            prepared.batches["valid"],
            meters=prepared.meters,
            callbacks=self._callbacks(),
            monitor=prepared.monitor,
            epochs=config.trainer.epochs,
            folder=folder,
            interrupted=interrupted,
            log=recorder.log,
        )

    def complete(self) -> Result:
        """Train, then measure, export and draw the best weights."""
        self._announce()
        end = self.trainer.fit()
        progress = self.trainer.progress
        if progress.best is None:
            raise TrainingStoppedError(
                f"{self.prepared.monitor.name} was not a number in any epoch, so there are no best weights to measure. "
                "A smaller optimizer.learning_rate often helps."
            )
        best = self.checkpoints.load("best")
        self.prepared.learner.load_state_dict(LearnerState(best.learner.model, {}))
        test = self.trainer.evaluate(self.prepared.batches["test"])
        metrics = {**progress.best_metrics, **{f"test/{n}": v for n, v in test.items()}}
        self._check_interrupt()
        certificate = self._export(metrics)
        self._check_interrupt()
        self._draw()
        self._check_interrupt()
        result = Result(self.folder, metrics, progress.best_epoch, progress.best, certificate)
        self.recorder.result(metrics, progress.best_epoch, progress.epoch, certificate)
        self._conclude(result, end.reason)
        return result

    def _check_interrupt(self) -> None:
        if self.interrupted():
            raise Interrupted

    def _callbacks(self) -> list[Any]:
        # Checkpoints come after the chosen callbacks, whose state they save.
        return [
            self.history,
            *self.prepared.callbacks.values(),
            CheckpointCallback(self.checkpoints, self._snapshot),
            self.recorder.callback,
            report.EpochLog(self.config.trainer.epochs),
            progress_callback(self.config.trainer.progress, self.console),
        ]

    def _snapshot(self) -> Snapshot:
        states = {name: callback.state_dict() for name, callback in self.prepared.callbacks.items()}
        return Snapshot(self.prepared.learner.state_dict(), self.trainer.progress.as_dict(), states, random_state())

    def _announce(self) -> None:
        config, summary = self.config, self.prepared.learner.summary()
        facts = [f"{count:,.0f} {what}" for what, count in summary.items()]
        names = [c.name for c in (config.model, config.optimizer) if c is not None]
        report.announce(
            self.console,
            title=f"{config.name}, seed {config.seed}",
            spec=self.prepared.data.spec,
            sizes=self.prepared.sizes,
            parts=", ".join([*names, *facts, f"batch size {config.loader.batch_size}", self.prepared.device]),
            folder=self.folder,
            overrides=config.overrides if self.folder.name.isdigit() else (),
        )

    def _draw(self) -> None:
        """Draw the pictures; one that cannot be drawn is a warning, for the results are whole without it."""
        if not self.config.plots.enabled:
            return
        from expkit import plotting  # Matplotlib costs 0.3 s; a run without plots need not pay

        spec, split, plots = self.prepared.data.spec, self.prepared.data.test, self.folder / "plots"
        outputs, targets = self._answers()
        drawings: list[Callable[[], object]] = [
            lambda: plotting.draw_curves(plots, self.title, self.history.steps, self.history.epochs)
        ]
        if spec.is_classification:
            most = self.config.plots.mistakes
            drawings += [
                lambda: plotting.draw_confusion(plots, self.title, spec, outputs, targets),
                lambda: plotting.draw_mistakes(plots, self.title, spec, split, outputs, targets, most),
            ]
        else:
            drawings.append(lambda: plotting.draw_values(plots, self.title, spec, outputs, targets))
        for draw in drawings:
            try:
                draw()
            except Exception as error:  # noqa: BLE001 - Matplotlib fails in many ways on unusual labels
                log.warning("A picture of %s could not be drawn: %s: %s", plots, type(error).__name__, error)

    def _answers(self) -> tuple[Array, Array]:
        outputs, targets = [], []
        for inputs, wanted in self.prepared.batches["test"].epoch():
            outputs.append(self.prepared.learner.predict(inputs))
            targets.append(wanted)
            self._check_interrupt()
        return np.concatenate(outputs), np.concatenate(targets)

    def _export(self, metrics: Mapping[str, float]) -> Certificate | None:
        if not self.config.export.enabled:
            return None
        facts = {
            "name": self.config.name,
            "run": self.recorder.run_id,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "choices": dict(self.config.choices),
            "metrics": {name: round(value, 6) for name, value in metrics.items()},
        }
        target = self.folder / "export"
        certificate = export_model(self.prepared.learner, self.prepared.data, target, self.config.export, facts)
        log.info("exported: %s", asdict(certificate))
        return certificate

    def _conclude(self, result: Result, reason: str) -> None:
        config, folder = self.config, report.quote_path(self.folder)
        places = [("stopped", reason)] if reason else []
        places.append(("run folder", folder))
        if self.recorder.tracked:
            places.append(("MLflow run", f"{self.recorder.mlflow_run_id}  (experiment {self.recorder.experiment})"))
        if result.certificate is not None:
            c = result.certificate
            places.append(
                (
                    "export",
                    f"{folder}/export  (largest difference to the model {c.largest_difference:.1e} on {c.samples} "
                    f"samples; {c.tolerance:g} is allowed)",
                )
            )
        report.conclude(
            self.console,
            metrics=result.metrics,
            headline=f"best epoch {result.best_epoch} of {self.trainer.progress.epoch} "
            f"({self.prepared.monitor.name} {result.monitored:.4f})",
            places=places,
            next_commands=next_commands(config, folder, tracked=self.recorder.tracked, exported=config.export.enabled),
        )


def next_commands(config: ExperimentConfig, folder: str, *, tracked: bool, exported: bool) -> list[tuple[str, str]]:
    """Return up to three (purpose, command) that a user would want after a run."""
    commands = []
    if exported:
        commands.append(("ask the model about files", f"python -m expkit predict {folder} FILE..."))
    if tracked and config.tracking.uri is None:
        runs = [] if str(config.runs_dir) == "runs" else ["--runs-dir", str(config.runs_dir)]
        commands.append(("compare runs in the browser", shlex.join(["python", "-m", "expkit", "ui", *runs])))
    if config.overrides:
        others = [override for override in config.overrides if not override.startswith("seed=")]
        again = shlex.join(["-m", *others, "seed=0,1,2"])
        commands.append(("see how much is chance", f"python -m expkit {again}"))
    return commands
