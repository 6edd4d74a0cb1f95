"""A search as a source of jobs: each time a slot is free it asks the study what to try, and it tells how that went."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.errors import ConfigError, ExpkitError, RunNotFoundError, TrainingStoppedError
from expkit.runs import monitored, read_record, seconds_of
from expkit.sweeping.jobs import FAILED, FINISHED, KILLED, PRUNED, Job, Outcome, Report, has_checkpoint
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.options import NODE, SearchOptions
from expkit.sweeping.search.space import Space, overrides
from expkit.sweeping.search.study import import_optuna, suggest

if TYPE_CHECKING:
    import optuna

JOB, FOLDER, OVERRIDES, REASON, SECONDS = "job", "folder", "overrides", "reason", "seconds"
"""What a trial keeps beside its values, among its user attributes."""
DIVERGED = "NotFiniteError"


class Search:
    """Jobs proposed by a study.

    A trial is asked for when a slot is free, not for a batch. Trials of the same sweep that were running when it was
    interrupted go on from their checkpoints; those without one are given up and made up for.

    Args:
        study: of `open_study`; told by this process only.
        space: what to search.
        options: how.
        objectives: what for.
        make_job: composes and checks the job of a number and of the overrides that make its trial.
        folder: of the sweep.
        note: says something to the user.
        first: number of the first job that is new.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        options: SearchOptions,
        objectives: Sequence[Objective],
        make_job: Callable[[int, Sequence[str]], Job],
        folder: Path,
        note: Callable[[str], None] = lambda text: None,
        first: int = 0,
    ) -> None:
        self.study, self.objectives, self.options = study, tuple(objectives), options
        self._space, self._make_job, self._folder, self._note = space, make_job, folder.absolute(), note
        self._states = import_optuna().trial.TrialState
        self._running: dict[int, tuple[Any, set[int]]] = {}
        self._waiting: deque[tuple[Any, Job]] = deque()
        self._unlucky: set[int] = set()
        self._started = time.monotonic()
        self._failures, self._last_reason = 0, ""
        self._error: ExpkitError | None = None
        self._grid = space.combinations() if options.sampler == "grid" else None
        self.total = self._count(options.trials)
        own = [trial for trial in study.get_trials(deepcopy=False) if self._is_own(trial)]
        self._numbers = itertools.count(max([first, *(trial.user_attrs[JOB] + 1 for trial in own)]))
        for trial in own:
            if trial.state == self._states.RUNNING:
                self._take_up(trial)

    @property
    def done(self) -> int:
        """Trials that count: those that ended with a value, and those that were not worth ending."""
        finished = (self._states.COMPLETE, self._states.PRUNED)
        return len(self.study.get_trials(deepcopy=False, states=finished))

    def next(self) -> Job | None:
        """Return the job of the next trial; None when all are under way, or the search has come to its end."""
        if self._waiting:
            trial, job = self._waiting.popleft()
            known = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
            return self._begin(trial, job, set(known))
        while not self._over() and self._under_way() < self.total:
            trial = self._ask()
            number, values = next(self._numbers), overrides(self._space.walk(suggest(trial)))
            for name, value in ((JOB, number), (FOLDER, str(self._folder)), (OVERRIDES, values)):
                trial.set_user_attr(name, value)
            try:
                return self._begin(trial, self._make_job(number, values), set())
            except ExpkitError as error:
                self._note(f"trial {number} ({' '.join(values)}) cannot be run: {error}")
                self._fail(trial, f"{type(error).__name__}: {error}")
        return None

    def reported(self, job: Job, report: Report) -> bool:
        """Take in an epoch's report; returns whether its trial is to end here."""
        if len(self.objectives) > 1 or job.number not in self._running:
            return False
        (objective,) = self.objectives
        value = objective.of_epoch(report)
        if value is None:
            return False
        self._check_direction(report)
        trial, known = self._running[job.number]
        if report.epoch not in known:  # a run that goes on tells some epochs again
            known.add(report.epoch)
            trial.report(float(value), report.epoch)
        prune = job.prunes and bool(trial.should_prune())  # asked in any case: others are held against what it notes
        return prune and report.epoch < report.epochs  # one that has trained wholly costs nothing more

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Tell the study how a job ended; one that somebody stopped stays open, for the sweep that goes on."""
        if outcome.status == KILLED:
            self._running.pop(job.number, None)
            return
        trial, _ = self._running.pop(job.number)
        trial.set_user_attr(SECONDS, round(outcome.seconds, 3))
        self._tell(trial, job.folder, outcome)

    def check(self) -> None:
        """Say why the search has ended before its time, if it has.

        Raises:
            TrainingStoppedError: too many trials failed in a row.
            ConfigError: the runs do not measure what is optimised, or not in the same direction.
        """
        if self._error is not None:
            raise self._error
        if self._failures >= self.options.max_failures:
            raise TrainingStoppedError(
                f"the search has ended: {self._failures} trials failed in a row ({NODE}.max_failures="
                f"{self.options.max_failures}), {self.done} of {self.total} are done. The last one: "
                f"{self._last_reason}. Mend what made them fail, and go on with sweep.resume={self._folder}"
            )

    def _count(self, trials: int | None) -> int:
        if self._grid is not None:
            return len(self._grid) if trials is None else min(trials, len(self._grid))
        assert trials is not None  # of the options' own check
        size = self._space.size()
        if size is not None and trials > size:
            self._note(
                f"There are {size} combinations, and {trials} trials will try some again. "
                f"{NODE}.sampler=grid tries each once."
            )
        return trials

    def _under_way(self) -> int:
        """Trials that count or may yet; a grid does not try again at once what has failed."""
        return self.done + len(self._running) + (0 if self._grid is None else len(self._unlucky))

    def _over(self) -> bool:
        timeout = self.options.timeout
        late = timeout is not None and time.monotonic() - self._started > timeout
        return late or self._error is not None or self._failures >= self.options.max_failures

    def _ask(self) -> Any:
        if self._grid is not None:
            tried = [trial.params for trial in self.study.get_trials(deepcopy=False) if self._counts(trial)]
            self.study.enqueue_trial(next(one for one in self._grid if one not in tried))
        return self.study.ask()

    def _counts(self, trial: Any) -> bool:
        counting = (self._states.COMPLETE, self._states.PRUNED, self._states.RUNNING)
        return trial.state in counting or trial.number in self._unlucky

    def _begin(self, trial: Any, job: Job, known: set[int]) -> Job:
        self._running[job.number] = trial, known
        return replace(job, prunes=self.options.pruner != "none")

    def _is_own(self, trial: Any) -> bool:
        """Whether a trial is of this sweep: in a shared storage others may search at the same time."""
        alone = self.options.storage is None  # in a folder that may have been moved
        return JOB in trial.user_attrs and (alone or trial.user_attrs.get(FOLDER) == str(self._folder))

    def _take_up(self, frozen: Any) -> None:
        """Decide what becomes of a trial that was running when the sweep was interrupted."""
        trial = import_optuna().trial.Trial(self.study, frozen._trial_id)
        try:
            job = self._make_job(frozen.user_attrs[JOB], frozen.user_attrs[OVERRIDES])
        except ExpkitError as error:
            self._fail(trial, f"{type(error).__name__}: {error}", counts=False)
            return
        outcome = _outcome(job.folder)
        if outcome is not None:  # it ended, and nobody was left to tell
            self._tell(trial, job.folder, outcome)
        elif has_checkpoint(job.folder):
            self._waiting.append((trial, replace(job, resume=True)))
        else:
            self._fail(trial, "interrupted before its first checkpoint", counts=False)

    def _tell(self, trial: Any, folder: Path, outcome: Outcome) -> None:
        if outcome.status == PRUNED:
            self._prune(trial, outcome.reason)
        elif outcome.status == FINISHED:
            try:
                values = [objective.of_run(outcome, folder) for objective in self.objectives]
            except ConfigError as error:
                self._error = error
                self._fail(trial, str(error))
                return
            nameless = [one.name for one, value in zip(self.objectives, values, strict=True) if math.isnan(value)]
            if nameless:
                self._fail(trial, f"{', '.join(nameless)} is not a number")
            else:
                self.study.tell(trial, values)
                self._failures = 0
        elif outcome.reason.startswith(DIVERGED) and len(self.objectives) == 1:
            # The study takes no notice of a failed trial, and would try the same rate again; a pruned one is a bad one.
            self._prune(trial, outcome.reason)
        else:
            self._fail(trial, outcome.reason or outcome.status)

    def _prune(self, trial: Any, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=self._states.PRUNED)
        self._failures = 0

    def _fail(self, trial: Any, reason: str, *, counts: bool = True) -> None:
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=self._states.FAIL)
        if counts:
            self._unlucky.add(trial.number)
            self._failures += 1
            self._last_reason = reason.rstrip(".")

    def _check_direction(self, report: Report) -> None:
        (objective,) = self.objectives
        if objective.monitored and report.monitor and report.higher_is_better != objective.higher_is_better:
            self._error = ConfigError(
                f"the search is to {objective.direction} {objective.name}, but a run goes by {report.monitor}, of "
                f"which {'higher' if report.higher_is_better else 'lower'} is better. All trials have to be compared "
                "by one metric: set checkpoint.monitor and checkpoint.mode."
            )


def _outcome(folder: Path) -> Outcome | None:
    """Return how the run in a folder ended by itself; None where it has not."""
    try:
        record = read_record(folder)
    except RunNotFoundError:
        return None
    status = record.get("status")
    if status not in (FINISHED, FAILED):
        return None
    return Outcome(
        status,
        reason=str(record.get("reason", "")),
        value=monitored(record),
        metrics=dict(record.get("metrics", {})),
        seconds=seconds_of(record) or 0.0,
    )
