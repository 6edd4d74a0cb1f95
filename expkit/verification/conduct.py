"""Trains to a step without a break; trains, is killed and resumed; compares all that is left of the two."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from expkit import config as configs
from expkit import report
from expkit.checkpoint import CheckpointFolder
from expkit.config import ExperimentConfig
from expkit.errors import CheckpointError, ConfigError
from expkit.report import quote_path
from expkit.reproduction.comparing import Comparison, compare
from expkit.reproduction.recorded import Recorded, read_recorded
from expkit.reproduction.show import where
from expkit.tracking.reading import open_reader
from expkit.verification.plan import Plan, make_plan
from expkit.verification.points import compare_points
from expkit.verification.states import compare_states, count_states
from expkit.verification.trial import KILL, Trial

IDENTICAL, DIFFERS = 0, 1
TAG = "expkit.verified_resume"
CHILD = "expkit.cli.trial"
SHOWN = 8
COUNTED = {"steps": "steps", "epochs": "epochs", "final": "final values"}
CHECKPOINTS = ("last", "best")


@dataclass(frozen=True)
class Verdict:
    """What came out.

    Attributes:
        differences: in words, the first one in training first; empty where all is the same.
        compared: what was compared, in words.
    """

    differences: Sequence[str]
    compared: Sequence[str]

    def __str__(self) -> str:
        """For the tag."""
        return f"differs: {self.differences[0]}" if self.differences else "identical"


def verify(
    config: ExperimentConfig, *, steps: int | None = None, kill_at: int | None = None, console: Console | None = None
) -> int:
    """Find out whether an experiment resumes exactly.

    Args:
        config: the experiment.
        steps: to train in all; None for 60 or so, in three epochs at least.
        kill_at: the step after which it is killed; None to choose.
        console: where to show what happens; the screen by default.

    Returns:
        The exit code: 0 identical, 1 differs. The run folders are kept in the second case only.

    Raises:
        ExpkitError: the experiment cannot be trained, with or without a break.
    """
    console = console or report.make_console()
    plan = make_plan(config, steps, kill_at)
    trainer = plan.config.trainer
    _line(
        console, "verifies", f"{config.name}, seed {config.seed}: {plan.steps:,} steps in up to {trainer.epochs} epochs"
    )
    scratch = Path(tempfile.mkdtemp(prefix="expkit-verify-resume-"))
    keep = False
    try:
        verdict = _verdict(plan, scratch, console)
        keep = bool(verdict.differences)
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
    _show(console, verdict, scratch)
    return DIFFERS if verdict.differences else IDENTICAL


def _verdict(plan: Plan, scratch: Path, console: Console) -> Verdict:
    whole, broken = scratch / "uninterrupted", scratch / "resumed"
    text = configs.to_yaml(plan.config.resolved)
    trial = Trial(text, dict(plan.config.choices), tuple(plan.config.overrides), whole, plan.last_step)
    _start(trial, 0)
    _line(console, "whole", f"trained to step {plan.steps:,} without a break")
    _start(replace(trial, folder=broken, kill_at=plan.kill_at), -int(KILL) if sys.platform != "win32" else int(KILL))
    lost = plan.kill_at - plan.saved_at
    _line(
        console,
        "killed",
        f"by SIGKILL after step {plan.kill_at:,}, with its last checkpoint at step {plan.saved_at:,}: {lost:,} lost",
    )
    code = _start(replace(trial, folder=broken, resume=True), None)
    if code:
        last = _log(broken).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return Verdict([f"the killed run cannot be resumed: exit code {code}: {' '.join(last)}"], [])
    _line(console, "resumed", f"trained on to step {plan.steps:,}")
    return _compare(plan, whole, broken)


def _start(trial: Trial, wanted: int | None) -> int:
    """Run a trial in a fresh process and return its exit code.

    Raises:
        ConfigError: it is not the one that is wanted, where one is.
    """
    log = _log(trial.folder)
    with log.open("a", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, "-m", CHILD], input=trial.as_json(), text=True, stdout=out, stderr=out, check=False
        )
    if wanted is not None and done.returncode != wanted:
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        raise ConfigError(
            f"a run of the check ended with exit code {done.returncode}, not {wanted}. It said:\n{said}\n"
        )
    return done.returncode


def _log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def _compare(plan: Plan, whole: Path, broken: Path) -> Verdict:
    then, now = read_recorded(whole), read_recorded(broken)
    found = compare(then, now, plan.last_step)
    differences = [] if found.identical else [where(found)]
    compared = [f"{found.compared[kind]:,} {what}" for kind, what in COUNTED.items() if found.compared[kind]]
    for which in CHECKPOINTS:
        try:
            one = CheckpointFolder(whole / "checkpoints").load(which)
        except CheckpointError:
            if which == "last":
                raise
            continue  # it paused before the first validation
        other = CheckpointFolder(broken / "checkpoints").load(which)
        differences += [f"{which} checkpoint: {one}" for one in compare_states(one, other)]
        compared += [f"the {which} checkpoint ({count_states(one)})"]
    differences += _finals(found)
    if then.mlflow_run_id and now.mlflow_run_id:
        differences, compared = _store(plan.config, then, now, differences, compared)
    return Verdict(differences, compared)


def _finals(found: Comparison) -> list[str]:
    """Return the final metrics that differ, but for one that is the first difference."""
    return [f"at {one.place}: {one.metric} {one.then!r} -> {one.now!r}" for one in found.final if one != found.first]


def _store(
    config: ExperimentConfig, then: Recorded, now: Recorded, differences: list[str], compared: list[str]
) -> tuple[list[str], list[str]]:
    """Compare the points in the store, and note the verdict on both runs there."""
    store = open_reader(config.tracking.uri, config.runs_dir)
    points = [store.points(run.mlflow_run_id) for run in (then, now)]
    differences = [*differences, *(f"MLflow: {line}" for line in compare_points(*points))]
    compared = [*compared, f"{sum(map(len, points[0].values())):,} points in MLflow, none missing and none twice"]
    for run in (then, now):
        store.note(run.mlflow_run_id, {TAG: str(Verdict(differences, compared))})
    return differences, compared


def _show(console: Console, verdict: Verdict, scratch: Path) -> None:
    if not verdict.differences:
        for number, line in enumerate(verdict.compared):
            _line(console, "identical" if not number else "", line)
        return
    for number, line in enumerate(verdict.differences[:SHOWN]):
        _line(console, "differs" if not number else "", line)
    if len(verdict.differences) > SHOWN:
        _line(console, "", f"and {len(verdict.differences) - SHOWN:,} more")
    _line(console, "kept", f"both runs, in {quote_path(scratch)}")


def _line(console: Console, what: str, text: str) -> None:
    console.print(f"{what:<11} {text}", soft_wrap=True, markup=False)
