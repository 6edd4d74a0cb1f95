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
from expkit.errors import ExpkitError
from expkit.export import Certificate, export_model
from expkit.interrupts import StopRequests
from expkit.preparation import Prepared, prepare
from expkit.progress import progress_callback, show_seconds
from expkit.record import Recorder
from expkit.runlog import log, run_log
from expkit.seeding import random_state
from expkit.trainer import Interrupted, Trainer


@dataclass(frozen=True)
class Result:
    """What an experiment came to.

    Attributes:
        folder: the run folder.
        metrics: of the best epoch's weights: "train/loss", "valid/accuracy", "test/accuracy", ...
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
        KeyboardInterrupt: somebody asked to stop; a checkpoint was saved and the run marked KILLED.
    """
    console = console or report.make_console()
    started = time.perf_counter()
    prepared = prepare(config)
    with StopRequests() as interrupted:
        recorder = Recorder.open(config, prepared, folder)
        with run_log(folder / "run.log"):
            try:
                result = _Run(config, prepared, folder, console, recorder, interrupted).complete()
                recorder.finish("FINISHED")
            except (Interrupted, KeyboardInterrupt) as stop:
                log.warning("Stopped by a signal. What was trained is kept in %s", folder)
                recorder.finish("KILLED", "stopped by a signal")
                raise KeyboardInterrupt from stop
            except BaseException as error:
                # The traceback belongs to the log; the screen gets what the command line makes of the error.
                log.info("failed", exc_info=not isinstance(error, ExpkitError))
                recorder.finish("FAILED", f"{type(error).__name__}: {error}")
                raise
            log.info("done in %s", show_seconds(time.perf_counter() - started))
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
        self.config, self.prepared, self.folder = config, prepared, folder
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
        )

    def complete(self) -> Result:
        """Train, then measure, draw and export the best weights."""
        self._announce()
        self.trainer.fit()
        progress = self.trainer.progress
        best = self.checkpoints.load("best")
        self.prepared.learner.load_state_dict(LearnerState(best.learner.model, {}))
        test = self.trainer.evaluate(self.prepared.batches["test"])
        metrics = {**progress.best_metrics, **{f"test/{n}": v for n, v in test.items()}}
        self._draw()
        certificate = self._export(metrics)
        assert progress.best is not None  # without a best epoch there is no "best" checkpoint
        result = Result(self.folder, metrics, progress.best_epoch, progress.best, certificate)
        self.recorder.result(metrics, progress.best_epoch, certificate)
        self._conclude(result)
        return result

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
        return Snapshot(
            self.prepared.learner.state_dict(), self.trainer.progress.as_dict(), states, random_state()
        )

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
        )

    def _draw(self) -> None:
        if not self.config.plots.enabled:
            return
        from expkit import plotting  # Matplotlib costs 0.3 s; a run without plots need not pay

        spec, split, plots = self.prepared.data.spec, self.prepared.data.test, self.folder / "plots"
        plotting.draw_curves(plots, self.title, self.history.steps, self.history.epochs)
        outputs, targets = self._answers()
        if spec.is_classification:
            plotting.draw_confusion(plots, self.title, spec, outputs, targets)
            plotting.draw_mistakes(
                plots, self.title, spec, split, outputs, targets, self.config.plots.mistakes
            )
        else:
            plotting.draw_values(plots, self.title, spec, outputs, targets)

    def _answers(self) -> tuple[Array, Array]:
        outputs, targets = [], []
        for inputs, wanted in self.prepared.batches["test"].epoch():
            outputs.append(self.prepared.learner.predict(inputs))
            targets.append(wanted)
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
        certificate = export_model(
            self.prepared.learner, self.prepared.data, target, self.config.export, facts
        )
        log.info("exported: %s", asdict(certificate))
        return certificate

    def _conclude(self, result: Result) -> None:
        config, folder = self.config, report.quote_path(self.folder)
        places = [("run folder", folder)]
        if self.recorder.tracked:
            places.append(
                ("MLflow run", f"{self.recorder.mlflow_run_id}  (experiment {self.recorder.experiment})")
            )
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
            next_commands=next_commands(
                config, folder, tracked=self.recorder.tracked, exported=config.export.enabled
            ),
        )


def next_commands(
    config: ExperimentConfig, folder: str, *, tracked: bool, exported: bool
) -> list[tuple[str, str]]:
    """Return up to three (purpose, command) that a user would want after a run."""
    commands = []
    if exported:
        commands.append(("ask the model about files", f"python -m expkit predict {folder} FILE..."))
    if tracked:
        runs = "" if str(config.runs_dir) == "runs" else f" --runs-dir {config.runs_dir}"
        commands.append(("compare runs in the browser", f"python -m expkit ui{runs}"))
    if config.overrides:
        others = [override for override in config.overrides if not override.startswith("seed=")]
        again = shlex.join(["-m", *others, "seed=0,1,2"])
        commands.append(("see how much is chance", f"python -m expkit {again}"))
    return commands
