"""The run that stands for a sweep in the tracking store; those of its jobs are nested in it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from expkit import tracking
from expkit.config import ExperimentConfig
from expkit.runs import best_name, run_id
from expkit.sweeping.board import Board
from expkit.sweeping.jobs import FINISHED, KILLED, Job, Outcome, Report, came_to_nothing
from expkit.sweeping.names import short_name
from expkit.sweeping.ranking import LOSSES, RESULTS, order
from expkit.sweeping.results import Entry, metric_names, rules, typed_values
from expkit.sweeping.standing import NOTHING, Aim, Before, aim_of
from expkit.sweeping.summary import METRICS, summary
from expkit.tracking import tags as names
from expkit.tracking.journal import recorded_points
from expkit.tracking.operations import EXPERIMENT_ID, RUN_ID
from expkit.tracking.view import sweep_page, sweep_state, sweep_view


@dataclass(frozen=True)
class Sweep:
    """What is known of a sweep before it starts.

    Attributes:
        folder: of the sweep.
        config: of any of its jobs: where it is tracked, and under which name.
        command: that started it.
        shared: overrides that all jobs share.
        varies: names of what they do not share, such as "optimizer.learning_rate".
        jobs: how many there are; None where a search decides on them as it goes.
        before: what was done before this start.
        name: of the experiment that all jobs share; by default that of the job.
        axes: those names of what they do not share that each job has; by default all of them.
    """

    folder: Path
    config: ExperimentConfig
    command: str
    shared: Sequence[str] = ()
    varies: Sequence[str] = ()
    jobs: int | None = None
    before: Before = NOTHING
    name: str = ""
    axes: Sequence[str] | None = None

    @property
    def id(self) -> str:
        """The last part of its folder's name: "ab12cd" of "sweep-20261123-120000-ab12cd"."""
        return self.folder.name.rpartition("-")[2]

    @cached_property
    def aim(self) -> Aim:
        """What its jobs are compared by."""
        return aim_of(self.config)

    @property
    def experiment(self) -> str:
        """Name of its experiment in the store."""
        return self.config.tracking.experiment or self.name or self.config.name


class NoParent:
    """What stands in for the parent run where nothing is tracked; a `Watcher`."""

    run_id = ""

    def tags(self, number: int) -> dict[str, str]:
        """Return the tags that a job's run is to have."""
        return {}

    def run_name(
        self, number: int, varies: Sequence[str], choices: Mapping[str, str], own: str | None = None
    ) -> str | None:
        """Return the name that a job's run is to have in the store; `own` is what its config says."""
        return own

    def experiment(self, own: str | None) -> str | None:
        """Return the experiment that a job's run is to lie in; `own` is what its config says."""
        return own

    def where(self) -> str:
        """Return what shows the sweep in MLflow: a command or an address; empty where nothing is tracked."""
        return ""

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Nothing is tracked."""

    def reported(self, job: Job, report: Report) -> None:
        """Nothing is tracked."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Nothing is tracked."""

    def tick(self) -> None:
        """Nothing is tracked."""

    def finish(
        self,
        entries: Sequence[Entry] = (),
        *,
        stopped: str = "",
        failed: str = "",
        files: Sequence[Path] = (),
        made_up_for: bool = False,
    ) -> None:
        """Nothing is tracked."""


class ParentRun(NoParent):
    """The parent run: RUNNING while the sweep runs, then FINISHED, FAILED (one of its jobs has) or KILLED (stopped).

    Once it is open, no method raises because of the store, nor waits for it.

    Args:
        sweep: that it stands for.
        tracker: of the open run.

    """

    def __init__(self, sweep: Sweep, tracker: tracking.Tracker) -> None:
        self._sweep, self._tracker = sweep, tracker
        self._board = Board(sweep.jobs, sweep.before, sweep.aim)
        self._recorded = recorded_points(sweep.folder)
        self._ends = max(self._recorded.steps.values(), default=0)

    def tags(self, number: int) -> dict[str, str]:
        """Return the tags that nest a job's run in this one."""
        return {names.PARENT_IDENTITY: self._sweep.folder.name, "sweep": self._sweep.id, "sweep.job": str(number)}

    def run_name(
        self, number: int, varies: Sequence[str], choices: Mapping[str, str], own: str | None = None
    ) -> str | None:
        """Return a name that tells a job's run from the others, also where it is cut: "3 · adam lr=0.01 · ab12cd.3"."""
        told = short_name(varies, choices)
        return " · ".join(part for part in (str(number), told, own, f"{self._sweep.id}.{number}") if part)

    def experiment(self, own: str | None) -> str | None:
        """Return that of the sweep, whatever the job's own experiment is called: one table has all of its runs."""
        return own or self._sweep.experiment

    def where(self) -> str:
        """Return what shows the sweep in MLflow: a command, or an address where a server is used."""
        uri, runs_dir = self._sweep.config.tracking.uri, str(self._sweep.config.runs_dir)
        if not self._tracker.run_id:
            return ""
        if uri is not None and uri.startswith(("http://", "https://")):
            page = sweep_page(self._tracker.experiment_id, self._sweep.id)
            return f"{tracking.masked(uri).rstrip('/')}/{page}"
        store = [] if uri is None else ["--uri", tracking.masked(uri)]
        folder = [] if runs_dir == "runs" else ["--runs-dir", runs_dir]
        return shlex.join(["python", "-m", "expkit", "ui", "--sweep", self._sweep.id, *store, *folder])

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        """Note it."""
        self._board.started(job, slot, attempt)

    def reported(self, job: Job, report: Report) -> None:
        """Note it."""
        self._board.reported(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Record the best result so far, over the jobs that have ended in all starts of the sweep."""
        self._board.ended(job, outcome)
        if outcome.status == KILLED:  # it goes on some time
            return
        self._ends += 1
        over = [row for row in self._board.over if row.outcome is not None and row.outcome.status != KILLED]
        best = {} if self._board.best is None else {"sweep/best": self._board.best.value}
        self._log({"sweep/jobs_done": float(self._sweep.before.done + len(over)), **best}, self._ends)

    def finish(
        self,
        entries: Sequence[Entry] = (),
        *,
        stopped: str = "",
        failed: str = "",
        files: Sequence[Path] = (),
        made_up_for: bool = False,
    ) -> None:
        """Record the results and close the run.

        Args:
            entries: of the jobs, ranked.
            stopped: who or what stopped the sweep, if it was.
            failed: why the sweep itself failed, if it did.
            files: further ones to keep.
            made_up_for: whether others took the place of the jobs that failed, as in a search.
        """
        bad = [one for one in entries if came_to_nothing(one.status)]
        best = entries[0] if entries and entries[0].metrics and rules(entries) else None
        if best is not None:
            ranks = {"sweep/best": best.value} if best.status == FINISHED and best.value is not None else {}
            self._log(ranks, self._ends)
            self._log(_as_logged(best.metrics), 0)
            self._tracker.mark_best(run_id(best.folder))
        if entries:
            page = sweep_page(EXPERIMENT_ID, self._sweep.id)
            self._tracker.set_description(summary(self._sweep.command, order(entries), entries, page))
            self._tracker.set_tags({"sweep.jobs": str(len(entries))})
            if rules(entries) and metric_names(
                entries
            ):  # only a run that is done knows for sure which metric is better in which direction
                better = bool(rules(entries)["higher_is_better"])
                _show(self._tracker, self._sweep, metric_names(entries), higher_is_better=better)
        for name in (RESULTS, LOSSES):
            if (self._sweep.folder / name).is_file():
                self._tracker.log_artifact(self._sweep.folder / name)
        for file in files:
            place = file.relative_to(self._sweep.folder).parent
            self._tracker.log_artifact(file, None if place == Path() else place.as_posix())
        if stopped:
            self._tracker.finish("KILLED", stopped)
        elif failed or (bad and not made_up_for):
            self._tracker.finish("FAILED", failed or f"{len(bad)} of {len(entries)} jobs failed")
        else:
            self._tracker.finish("FINISHED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        """Record points, each once: the end repeats the last job's, and a start that finds all done the one before."""
        new = {name: value for name, value in values.items() if not self._recorded.ends_with(name, step, value)}
        self._recorded.last.update({name: (step, value) for name, value in new.items()})
        if new:
            self._tracker.log_metrics(new, step)


def open_parent(sweep: Sweep) -> ParentRun:
    """Open the run that stands for a sweep, or the one that stood for it when it was begun.

    Raises:
        TrackingError: the store cannot be used; nothing was started.
    """
    settings = _settings(sweep)
    if tracking.is_recorded(sweep.folder):
        tracker = tracking.reopen_tracker(settings, sweep.folder, replays=False)
        tracker.set_tags(_tags(sweep))
    else:
        params = typed_values(sweep.shared)
        tracker = tracking.open_tracker(settings, sweep.folder, params=params, tags=_tags(sweep))
    _show(tracker, sweep, sweep.aim.metrics, higher_is_better=sweep.aim.higher_is_better)
    return ParentRun(sweep, tracker)


def _show(tracker: tracking.Tracker, sweep: Sweep, metrics: Sequence[str], *, higher_is_better: bool) -> None:
    """Make the page that compares the jobs, also those that still train: all record what is the best so far."""
    names, known = [best_name(name) for name in metrics[:METRICS]], sweep.config.parameters()
    axes = [name for name in (sweep.varies if sweep.axes is None else sweep.axes) if name in known]
    state = sweep_state(RUN_ID, sweep.varies, names, axes, higher_is_better=higher_is_better)
    tracker.show_sweep(sweep_view(sweep.id), state)


def _settings(sweep: Sweep) -> tracking.StoreSettings:
    chosen, runs_dir = sweep.config.tracking, sweep.config.runs_dir
    own = typed_values(sweep.shared).get("tracking.run_name", "")
    told = ", ".join(short_name([f"{key}=?" for key in sweep.varies], {}).replace("=?", "").split(" "))
    name = " ".join(part for part in ("sweep", told) if part)
    return tracking.StoreSettings(
        uri=chosen.uri,
        experiment=sweep.experiment,
        run_name=" · ".join(part for part in (own, name, sweep.id) if part and "${" not in part),
        runs_dir=runs_dir.absolute(),
        artifact_root=(runs_dir / "mlartifacts").absolute(),
        metrics=tuple(sweep.config.metrics),
        enabled=chosen.kind != "none",
        required=chosen.required,
    )


def _tags(sweep: Sweep) -> dict[str, str]:
    return {
        "command": sweep.command,
        "sweep": sweep.id,
        "sweep.varies": ", ".join(sweep.varies),
        "sweep.jobs": "" if sweep.jobs is None else str(sweep.jobs),
        names.FOLDER: str(sweep.folder.absolute()),
        **sweep.config.tracking.tags,
    }


def _as_logged(metrics: Mapping[str, float]) -> dict[str, float]:
    """The names under which a run records the metrics of its best weights; those of training are curves only."""
    return {best_name(name): value for name, value in metrics.items() if not name.startswith("train/")}
