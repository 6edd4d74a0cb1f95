"""The composition root: one experiment from its config to its result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from expkit import parallel, report, tracking
from expkit.api import Callback
from expkit.auto_resume import find_earlier, what_becomes_of
from expkit.callbacks import CheckpointCallback, History, checkpoints_in
from expkit.config import ExperimentConfig
from expkit.errors import CheckpointError, DeviceLostError, ExpkitError, TrainingStoppedError
from expkit.export import Exported, Exporter, facts_about
from expkit.interrupts import StopRequests
from expkit.isolation import failures
from expkit.last_step import EnoughSteps, LastStep
from expkit.lock import RunLock
from expkit.masked_output import lasting_output
from expkit.nonfinite import Guard
from expkit.past import PastRun, check_resumable, check_same_data, check_secrets, read_followed, read_past
from expkit.preparation import Prepared, prepare
from expkit.progress import progress_callback, show_seconds
from expkit.record import Recorder
from expkit.recovery import Start, find_start, how_to_go_on
from expkit.result import Result, show_recorded, show_result
from expkit.runlog import RunLog, log
from expkit.runs import read_record
from expkit.state import WholeState
from expkit.trainer import Interrupted, Pruned, Trainer


def run(
    config: ExperimentConfig,
    folder: Path,
    console: Console | None = None,
    *,
    last_step: int | None = None,
    data: Mapping[str, Any] | None = None,
    further: Sequence[Callback] = (),
) -> Result:
    """Train, evaluate, plot and export one experiment; everything it writes lies in `folder` and the tracking store.

    Nothing is written before every part of the experiment was built.

    Args:
        config: the experiment.
        folder: the run folder, empty or not there yet.
        console: where to show progress; the screen by default.
        last_step: pause after this step; where it ends an epoch, after the validation of that.
        data: what the record of another run says of its data; other data is refused.
        further: callbacks beside those of the config, told last.

    Raises:
        ExpkitError: a mistake of the user's; the run, if it had begun, is marked FAILED.
        Stopped: somebody asked to stop; the run is marked KILLED, and a checkpoint saved if a step was done (not when
            a second Ctrl-C tore the step).
        Pruned: a callback of `further` gave it up; marked KILLED as well, and as saved.
    """
    console = console or report.make_console()
    if config.trainer.auto_resume and data is None:
        earlier = find_earlier(config, folder)
        if earlier is not None:
            return _go_on(config, earlier, console, last_step, further)
        console.print(f"auto_resume  {config.runs_dir} has no run of this config: a new one begins", markup=False)
    return _run(config, folder, console, data=data, last_step=last_step, further=further)


def resume(
    folder: Path,
    changes: Sequence[str] = (),
    console: Console | None = None,
    *,
    checkpoint: str | None = None,
    last_step: int | None = None,
    further: Sequence[Callback] = (),
    now: ExperimentConfig | None = None,
    secrets: Mapping[str, Any] | None = None,
) -> Result:
    """Go on with an interrupted run from its last checkpoint, in its folder and its run in the tracking store.

    Args:
        folder: the run folder.
        changes: "key=value" for what may be done otherwise than then: more epochs, another device.
        console: where to show progress; the screen by default.
        checkpoint: name of an earlier one to go on from; what came after it is done again.
        last_step: as for `run`.
        further: as for `run`.
        now: instead of changes, a config from which all is taken that changes nothing of what is learned.
        secrets: a resolved config of the run that has the passwords which its folder does not hold.

    Raises:
        ExpkitError: there is nothing to go on with, a change would make it another run, or its data has changed;
            nothing was written then.
        Stopped, Pruned: as for `run`.
    """
    read_record(folder)  # a folder that is no run is refused before a lock is put there
    with RunLock(folder):
        past = read_past(folder, changes, secrets) if now is None else read_followed(folder, now)
        check_resumable(past, checkpoint)
        check_secrets(past)
        screen = console or report.make_console()
        return _run(past.config, folder, screen, past, checkpoint=checkpoint, last_step=last_step, further=further)


def _go_on(
    config: ExperimentConfig, folder: Path, console: Console, last_step: int | None, further: Sequence[Callback]
) -> Result:
    """Go on with the run that an earlier start of the same command began, or show what it came to."""
    with RunLock(folder):
        record = read_record(folder)
        console.print(f"auto_resume  {report.quote_path(folder)} {what_becomes_of(record)}", markup=False)
        if record.get("status") != "FINISHED":
            past = PastRun(folder, record, config, ())
            return _run(config, folder, console, past, last_step=last_step, further=further)
    return show_recorded(console, config, folder, record)


def _run(
    config: ExperimentConfig,
    folder: Path,
    console: Console,
    past: PastRun | None = None,
    *,
    last_step: int | None,
    data: Mapping[str, Any] | None = None,
    checkpoint: str | None = None,
    further: Sequence[Callback] = (),
) -> Result:
    started = time.perf_counter()
    with lasting_output(), RunLog() as run_log, ExitStack() as held:
        start = Start() if past is None else find_start(past, checkpoint)
        data = data if past is None else past.record["data"]
        team = held.enter_context(parallel.started(config))
        tracked = config.tracking.kind != "none"
        courier = held.enter_context(tracking.courier_for(config.tracking.uri, wanted=tracked))
        prepared = parallel.lead(prepare(config, team=team), team)
        if data is not None:
            check_same_data(data, prepared.data.spec)
        with StopRequests() as stop:
            with stop.shielded():
                if past is None:
                    held.enter_context(RunLock(folder))
                    recorder = Recorder.open(config, prepared, folder, courier)
                else:
                    recorder = Recorder.reopen(config, prepared, folder, past.record, start.step, courier)
                start.settle(folder)
                run_log.write_to(folder / "run.log")
            run = _Run(config, prepared, folder, console, recorder, stop, start, last_step, further)
            result = _recorded(run, recorder, stop)
            log.info("done in %s", show_seconds(time.perf_counter() - started))
    if stop():  # it came while the record was closed: this run is whole, but a sweep must not go on
        raise stop.stopped(saved=True)
    return result


def _recorded(run: _Run, recorder: Recorder, stop: StopRequests) -> Result:
    """Complete a run and record how it ended; the record is never torn apart by a signal."""
    try:
        with recorder.watched():
            result = run.complete()
    except Pruned as pruned:
        log.info("%s", run.how_to_go_on(str(pruned)))
        with stop.shielded() as hurried:
            recorder.finish("KILLED", str(pruned), hurried)
        raise
    except (Interrupted, KeyboardInterrupt) as interrupt:
        stopped = stop.stopped(saved=isinstance(interrupt, Interrupted) and run.is_saved())
        log.warning("%s", run.how_to_go_on(str(stopped)))
        with stop.shielded() as hurried:
            recorder.finish("KILLED", str(stopped), hurried)
        raise stopped from interrupt
    except BaseException as error:
        # The traceback belongs to the log; the screen gets what the command line makes of the error.
        log.info("failed: %s", error, exc_info=not isinstance(error, ExpkitError))
        with stop.shielded() as hurried:
            recorder.finish("FAILED", f"{type(error).__name__}: {error}", hurried)
        if isinstance(error, (CheckpointError, DeviceLostError, OSError)):  # as of a full disk; what was saved is whole
            log.warning("%s", run.how_to_go_on())
        raise
    with stop.shielded() as hurried:
        recorder.finish("PAUSED" if result.paused else "FINISHED", result.paused, hurried)
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
        start: Start,
        last_step: int | None = None,
        further: Sequence[Callback] = (),
    ) -> None:
        self.config, self.prepared, self.folder, self.interrupted = config, prepared, folder, interrupted
        self.console, self.recorder = console, recorder
        kept = config.checkpoint
        self.checkpoints = checkpoints_in(folder, keep=kept.keep, sync_every=kept.sync_every)
        self.history = History(folder)
        self.title = f"{config.name}  |  {prepared.data.spec.name}  |  {recorder.run_id}"
        self.trainer = Trainer(
            prepared.learner,
            prepared.batches["train"],
            prepared.batches["valid"],
            meters=prepared.meters,
            callbacks=[*self._callbacks(), *([] if last_step is None else [LastStep(last_step)]), *further],
            monitor=prepared.monitor,
            epochs=config.trainer.epochs,
            stop_after=config.trainer.stop_after,
            folder=folder,
            interrupted=interrupted,
            log=recorder.log,
            feed=prepared.feed,
        )
        self.state = WholeState(prepared, self.trainer, self.history, recorder.facts)
        if start.snapshot is not None:
            self.state.take_back(start.snapshot)
        else:  # an earlier start may have left its first steps
            self.history.take_back(0, 0)
        self.guard = Guard(config, folder, self.trainer, self.checkpoints, self.state, recorder.log)
        self.trainer.not_finite = self.guard

    def complete(self) -> Result:
        """Train, then measure, export and draw the best weights."""
        self._announce()
        try:
            end = self.trainer.fit()
        except EnoughSteps as enough:
            return self._pause(str(enough))
        progress = self.trainer.progress
        if end.status == "paused":
            return self._pause(end.reason)
        if progress.best is None:
            raise TrainingStoppedError(
                f"{self.prepared.monitor.name} was not a number in any epoch, so there are no best weights to measure. "
                "A smaller learning rate often helps, or another checkpoint.monitor."
            )
        with Exporter(self.config.export) as exporter:
            self.prepared.learner.load_state_dict(self.checkpoints.load("best").learner)
            test = self.trainer.evaluate(self.prepared.batches["test"])
            metrics = {**progress.best_metrics, **{f"test/{n}": v for n, v in test.items()}}
            self.recorder.measured(metrics, progress.best_epoch, progress.epoch)
            self._check_interrupt()
            exported = self._export(exporter, metrics)
        self._check_interrupt()
        self._draw()
        self._check_interrupt()
        result = Result(self.folder, metrics, progress.best_epoch, progress.best, exported.certificates)
        self.recorder.result(metrics, progress.best_epoch, progress.epoch, exported.certificates, end.reason)
        show_result(
            self.console,
            self.config,
            result,
            monitor=self.prepared.monitor.name,
            epochs=progress.epoch,
            mlflow_run=self.recorder.mlflow_run_id,
            stopped=end.reason,
            switched_off=failures(self.prepared.callbacks),
        )
        exported.check()  # only now, so that what was measured is recorded and shown in any case
        return result

    def is_saved(self) -> bool:
        """Whether a checkpoint holds all steps that were done."""
        return self.checkpoints.holds(self.trainer.progress.epoch, self.trainer.progress.step)

    def how_to_go_on(self, why: str = "") -> str:
        """Say what is saved of a run that ends before its time, and which command goes on with it."""
        progress = self.trainer.progress
        return how_to_go_on(self.config, self.checkpoints, progress.epoch, progress.step, why)

    def _pause(self, reason: str) -> Result:
        """End before the end: what was trained is kept, and nothing is tested or exported yet."""
        progress, folder = self.trainer.progress, report.quote_path(self.folder)
        report.conclude(
            self.console,
            metrics=progress.best_metrics,
            headline=f"paused {reason}",
            places=[("run folder", folder)],
            next_commands=[("go on", f"python -m expkit resume {folder}")],
        )
        best = math.nan if progress.best is None else progress.best
        return Result(self.folder, progress.best_metrics, progress.best_epoch, best, {}, paused=f"paused {reason}")

    def _check_interrupt(self) -> None:
        if self.interrupted():
            raise Interrupted

    def _callbacks(self) -> list[Any]:
        # Checkpoints come after the chosen callbacks, whose state they save, and after what records metrics.
        when = self.config.checkpoint
        return [
            self.history,
            *self.prepared.callbacks.values(),
            self.recorder.callback,
            CheckpointCallback(
                self.checkpoints,
                lambda: self.guard.take(),
                self.prepared.monitor,
                every_steps=when.every_steps,
                every_seconds=when.every_seconds,
            ),
            report.EpochLog(self.config.trainer.epochs),
            progress_callback(self.config.trainer.progress, self.console),
        ]

    def _announce(self) -> None:
        config, summary = self.config, self.prepared.learner.summary()
        facts = [f"{count:,.0f} {what}" for what, count in summary.items()]
        names = [c.name for c in (config.model or config.learner, config.optimizer) if c is not None]
        loading, engine = str(self.prepared.batches["train"].loading), config.device.engine
        place = [self.prepared.device, *([engine] if engine != "paddle" else [])]
        report.announce(
            self.console,
            title=f"{config.name}, seed {config.seed}",
            spec=self.prepared.data.spec,
            sizes=self.prepared.sizes,
            parts=", ".join([*names, *facts, f"batch size {config.loader.batch_size}", loading, *place]),
            folder=self.folder,
            overrides=config.overrides if self.folder.name.isdigit() else (),
            resumed=self.trainer.progress.step,
        )

    def _draw(self) -> None:
        if self.config.plots.enabled:
            from expkit import pictures  # Matplotlib costs 0.3 s; a run without plots need not pay

            most = self.config.plots.mistakes
            pictures.draw(self.prepared, self.history, self.folder / "plots", self.title, most, self._check_interrupt)

    def _export(self, exporter: Exporter, metrics: Mapping[str, float]) -> Exported:
        if not self.config.export.enabled:
            return Exported()
        facts = facts_about(self.config, self.recorder.run_id, metrics)
        return exporter.export(self.prepared.learner, self.prepared.data, self.folder / "export", facts)
