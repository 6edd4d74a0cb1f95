"""Comparing two records of a run, and finding why they differ; values small enough to check by eye."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expkit.api import ConfigError, EpochEnd, FitStart, StepEnd
from expkit.errors import RunNotFoundError
from expkit.last_step import EnoughSteps, LastStep
from expkit.reproduction.causes import ANYTHING, HARDLY, ROUNDING, Cause, find_causes, likely, pip_command
from expkit.reproduction.comparing import Difference, compare
from expkit.reproduction.plan import make_plan
from expkit.reproduction.recorded import Recorded, read_stored
from expkit.reproduction.work_tree import code_change
from expkit.tracking.reading import StoredRun

ENVIRONMENT = {
    "python": "3.11.7",
    "device": "cpu",
    "gpu": None,
    "processor": "AMD EPYC",
    "platform": "Linux-6.1",
    "versions": {"expkit": "0.1.0", "paddlepaddle": "3.3.0", "numpy": "1.26.4", "mlflow": "3.13.0"},
    "plugins": {"acme": "1.0"},
    "git": {"commit": "a" * 40, "dirty": False},
    "tuning": {"tune.mkl_cpu_type": "7"},
}


def recorded(losses: list[float] = [3.0, 2.0, 1.5, 1.0], **changes: Any) -> Recorded:  # noqa: B006 - never changed
    """Return the record of two epochs of two steps."""
    record = {
        "id": "20260101-120000-aaa111",
        "status": "FINISHED",
        "seed": 0,
        "steps_per_epoch": 2,
        "best_epoch": 2,
        "metrics": {"valid/accuracy": 0.5, "test/accuracy": 0.25},
    }
    made = Recorded(
        folder=Path("runs/x"),
        origin="the folder runs/x",
        record={**record, **changes.pop("record", {})},
        options={"seed": 0, "trainer": {"epochs": 2, "stop_after": 1}, "device": {"threads": 1}},
        environment=ENVIRONMENT,
        diff="",
        untracked={},
        steps={step: {"loss": loss, "learning_rate": 0.1} for step, loss in enumerate(losses, 1)},
        epochs={1: {"valid/accuracy": 0.4}, 2: {"valid/accuracy": 0.5}},
    )
    return replace(made, **changes)


# --- comparing -------------------------------------------------------------------------------------------------


def test_equal_records_are_identical_and_everything_is_counted() -> None:
    found = compare(recorded(), recorded())
    assert found.identical
    assert found.compared == {"steps": 4, "epochs": 2, "final": 3}


def test_nan_equals_nan_and_infinity_itself() -> None:
    losses = [3.0, math.nan, math.inf, 1.0]
    assert compare(recorded(losses), recorded(list(losses))).identical
    found = compare(recorded(losses), recorded([3.0, math.nan, -math.inf, 1.0]))
    assert found.first == Difference("step 3 (epoch 2)", "loss", math.inf, -math.inf)
    assert found.first.relative == math.inf


def test_the_first_difference_is_the_first_in_the_order_of_training() -> None:
    later = recorded([3.0, 2.0, 1.5, 1.1])
    assert compare(recorded(), later).first == Difference("step 4 (epoch 2)", "loss", 1.0, 1.1)
    # The validation of epoch 1 comes between steps 2 and 3.
    earlier = replace(later, epochs={1: {"valid/accuracy": 0.3}, 2: {"valid/accuracy": 0.5}})
    found = compare(recorded(), earlier)
    assert found.first == Difference("epoch 1", "valid/accuracy", 0.4, 0.3)
    assert found.differing == {"steps": 1, "epochs": 1, "final": 0}


def test_the_rate_of_a_step_is_named_before_its_loss() -> None:
    now = recorded([3.0, 9.0, 9.0, 9.0])
    now = replace(now, steps={**now.steps, 2: {"loss": 9.0, "learning_rate": 0.2}})
    found = compare(recorded(), now)
    assert found.first == Difference("step 2 (epoch 1)", "learning_rate", 0.1, 0.2)
    assert found.differing["steps"] == 3


def test_final_values_alone_can_differ() -> None:
    found = compare(recorded(), recorded(record={"metrics": {"valid/accuracy": 0.5, "test/accuracy": 0.75}}))
    assert not found.identical
    assert found.first == found.final[0] == Difference("the end", "test/accuracy", 0.25, 0.75)


def test_a_step_that_only_one_of_them_has_is_a_difference() -> None:
    fewer = recorded([3.0, 2.0, 1.5])
    assert compare(recorded(), fewer).first == Difference("step 4 (epoch 2)", "learning_rate", 0.1, None)
    assert compare(fewer, recorded()).first == Difference("step 4 (epoch 2)", "learning_rate", None, 0.1)
    left_out = replace(recorded(), steps={step: v for step, v in recorded().steps.items() if step != 2})
    assert compare(left_out, recorded()).first == Difference("step 2 (epoch 1)", "learning_rate", None, 0.1)
    assert compare(replace(left_out, sampled=True), recorded()).identical


def test_a_run_without_an_end_is_compared_as_far_as_it_came() -> None:
    killed = recorded([3.0, 2.0, 1.5], record={"status": "KILLED"}, epochs={1: {"valid/accuracy": 0.4}})
    found = compare(killed, recorded(), last_step=3)
    assert found.identical
    assert found.compared == {"steps": 3, "epochs": 1, "final": 0}


def test_another_end_is_a_difference_whatever_stands_below_its_first_line() -> None:
    reason = "TrainingStoppedError: the loss is nan at step 5.\n  capsule  runs/x/capsules"
    failed = recorded(record={"status": "FAILED", "reason": reason})
    assert compare(
        failed, recorded(record={"status": "FAILED", "reason": reason.replace("runs/x", "runs/y")})
    ).identical
    found = compare(failed, recorded())
    assert found.ends == ("failed: TrainingStoppedError: the loss is nan at step 5.", "finished")


@pytest.mark.parametrize(("now", "rounding"), [(2.3000002, True), (2.31, False), (math.nan, False), (None, False)])
def test_rounding_is_told_from_more_than_that(now: float | None, rounding: bool) -> None:
    assert Difference("step 1", "loss", 2.3, now).is_rounding is rounding


# --- why -------------------------------------------------------------------------------------------------------


def changed(**parts: Any) -> Recorded:
    return recorded(environment={**ENVIRONMENT, **parts})


def test_nothing_differs_in_equal_records() -> None:
    assert find_causes(recorded(), recorded(), None) == []


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        (changed(device="gpu:0"), Cause("device", "cpu", "gpu:0", ROUNDING)),
        (changed(processor="Intel"), Cause("CPU", "AMD EPYC", "Intel", ROUNDING)),
        (changed(tuning={}), Cause("CPU tuning (MKL_DEBUG_CPU_TYPE)", "7", "none", ROUNDING)),
        (changed(platform="Linux-6.2"), Cause("system", "Linux-6.1", "Linux-6.2", HARDLY)),
        (changed(python="3.12.1"), Cause("Python", "3.11.7", "3.12.1", ANYTHING)),
        (
            changed(versions={**ENVIRONMENT["versions"], "numpy": "2.0.1"}),  # type: ignore[dict-item]
            Cause("numpy", "1.26.4", "2.0.1", ANYTHING),
        ),
        (
            changed(versions={**ENVIRONMENT["versions"], "mlflow": "3.14.0"}),  # type: ignore[dict-item]
            Cause("mlflow", "3.13.0", "3.14.0", HARDLY),
        ),
        (changed(plugins={}), Cause("acme", "1.0", "not installed", ANYTHING)),
        (
            recorded(options={"seed": 0, "trainer": {"epochs": 2}, "device": {"threads": 4}}),
            Cause("option device.threads", "1", "4", ROUNDING),
        ),
        (
            recorded(record={"seed": 3}),
            Cause("seed (run.json and config.yaml of the run disagree)", "0", "3", ANYTHING),
        ),
    ],
)
def test_what_is_otherwise_is_named_with_both_values(now: Recorded, cause: Cause) -> None:
    assert find_causes(recorded(), now, None) == [cause]


def test_what_was_not_recorded_then_is_no_cause() -> None:
    newer = changed(versions={**ENVIRONMENT["versions"], "pillow": "11.0"})  # type: ignore[dict-item]
    assert find_causes(recorded(), newer, None) == []


def test_a_run_that_went_on_under_other_versions_says_so() -> None:
    resumed = {"step": 3, "environment": {"versions.numpy": ["1.26.4", "2.0.1"], "git.commit": ["a" * 40, "b" * 40]}}
    found = find_causes(recorded(record={"resumed_otherwise": [resumed]}), recorded(), None)
    assert [(one.what, one.then, one.now) for one in found] == [
        ("numpy, in the run itself from step 3", "1.26.4", "2.0.1"),
        ("code, in the run itself from step 3", "commit aaaaaaaa", "commit bbbbbbbb"),
    ]


def test_the_order_of_causes_follows_the_size_of_the_difference() -> None:
    causes = [Cause("system", "", "", HARDLY), Cause("device", "", "", ROUNDING), Cause("numpy", "", "", ANYTHING)]
    gross, fine = Difference("step 1", "loss", 2.0, 1.0), Difference("step 1", "loss", 2.0, 2.0000001)
    assert [one.what for one in likely(causes, gross)] == ["numpy", "device", "system"]
    assert [one.what for one in likely(causes, fine)] == ["device", "numpy", "system"]


def test_one_command_brings_the_versions_back() -> None:
    versions = {"expkit": "0.2.0", "paddlepaddle-gpu": "3.3.1", "numpy": "2.0.1", "mlflow": "3.13.0"}
    now = {**ENVIRONMENT, "versions": versions, "plugins": {}}
    assert pip_command(ENVIRONMENT, now) == (
        "pip uninstall -y paddlepaddle-gpu && pip install paddlepaddle==3.3.0 numpy==1.26.4 acme==1.0"
    )
    assert pip_command(ENVIRONMENT, ENVIRONMENT) == ""


# --- how far, and in which parts -------------------------------------------------------------------------------


def test_a_whole_run_is_done_to_its_end_and_never_pauses() -> None:
    (part,) = make_plan(recorded(), Path("runs/y"), ["device.name=cpu"], None).parts
    assert (part.changes, part.last_step) == (("trainer.stop_after=null", "device.name=cpu"), None)


def test_a_run_that_was_changed_on_its_way_is_done_in_parts() -> None:
    resumed = [
        {"step": 4, "config": {"trainer.epochs": [2, 3]}},
        {"step": 6, "environment": {"python": ["3.11", "3.12"]}},
        {"step": 8, "config": {"trainer.epochs": [3, 5], "device.threads": [1, 2]}},
    ]
    run = recorded([1.0] * 10, record={"resumed_otherwise": resumed})
    first, second, third = make_plan(run, Path("runs/y"), [], None).parts
    assert (first.changes[1:], first.last_step) == (("trainer.epochs=2", "device.threads=1"), 4)
    assert (second.changes, second.last_step) == (("trainer.epochs=3",), 8)
    assert (third.changes, third.last_step) == (("trainer.epochs=5", "device.threads=2"), None)
    assert [part.last_step for part in make_plan(run, Path("runs/y"), [], 6).parts] == [4, 6]
    changed_by_hand = make_plan(run, Path("runs/y"), ["device.threads=1"], None).parts
    assert changed_by_hand[2].changes == ("trainer.epochs=5",)


def test_a_run_is_done_no_further_than_there_is_something_to_compare_with() -> None:
    killed = recorded([1.0] * 3, record={"status": "KILLED"})
    assert make_plan(killed, Path("runs/y"), [], None).parts[-1].last_step == 3
    assert make_plan(killed, Path("runs/y"), [], 9).parts[-1].last_step == 3
    assert make_plan(killed, Path("runs/y"), [], 2).parts[-1].last_step == 2
    with pytest.raises(ConfigError, match="did no step that is recorded"):
        make_plan(recorded([], record={"status": "RUNNING"}), Path("runs/y"), [], None)


def test_the_last_step_pauses_in_an_epoch_at_once_and_at_its_end_after_the_validation() -> None:
    def step(number: int, batch: int) -> StepEnd:
        return StepEnd(1, number, batch, 8, 1.0, 0.1, {})

    start: Any = FitStart(None, 2, 4, 0, Path())  # type: ignore[arg-type]  # no data is looked at
    within, at_end = LastStep(3), LastStep(4)
    for callback in (within, at_end):
        callback.on_fit_start(start)
        callback.on_step_end(step(2, 2))
    with pytest.raises(EnoughSteps, match="after step 3, as was asked"):
        within.on_step_end(step(3, 3))
    at_end.on_step_end(step(4, 4))
    with pytest.raises(EnoughSteps, match="after step 4"):
        at_end.on_epoch_end(EpochEnd(1, 4, {}, True, 1.0, print))


# --- the record ------------------------------------------------------------------------------------------------


class FakeReader:
    """A store that holds some files and points."""

    uri = "sqlite:///lab.db"

    def __init__(self, **files: str) -> None:
        self.files = files

    def download(self, run_id: str, places: Any, into: Path) -> None:
        for name, text in self.files.items():
            (into / name.replace("__", ".")).write_text(text)

    def metrics(self, run_id: str, prefix: str) -> dict[str, dict[int, float]]:
        held = {
            "step/loss": {1: 3.0, 3: 1.5},
            "step/learning_rate": {1: 0.1, 3: 0.1},
            "step/accuracy": {1: 0.5},
            "train/loss": {1: 2.5},
            "valid/loss": {1: 2.0},
            "valid/best_loss": {1: 2.0},
        }
        return {name: values for name, values in held.items() if name.startswith(prefix)}


RUN = StoredRun("f00d", Path("/gone/20260101-120000-aaa111"), "KILLED")


def test_a_killed_run_is_read_from_the_points_of_the_store(tmp_path: Path) -> None:
    record = json.dumps({"id": "aaa111", "status": "RUNNING", "data": {}, "choices": {}})
    reader: Any = FakeReader(run__json=record, config__yaml="seed: 0\n", environment__json="{}")
    found = read_stored(reader, RUN, tmp_path)
    assert found.origin == "MLflow run f00d in sqlite:///lab.db"
    assert found.steps == {1: {"loss": 3.0, "learning_rate": 0.1}, 3: {"loss": 1.5, "learning_rate": 0.1}}
    assert found.epochs == {1: {"train/loss": 2.5, "valid/loss": 2.0}}
    assert found.sampled


def test_a_store_that_does_not_hold_enough_says_so(tmp_path: Path) -> None:
    reader: Any = FakeReader(config__yaml="seed: 0\n")
    with pytest.raises(RunNotFoundError, match=r"MLflow run f00d in sqlite:///lab\.db does not hold what is needed"):
        read_stored(reader, RUN, tmp_path)


# --- code ------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q", "-b", "work")
    for name in ("net.py", "notes.md"):
        (tmp_path / name).write_text("x = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return git


def with_code(commit: str, diff: str = "", **untracked: str) -> Recorded:
    environment = {**ENVIRONMENT, "git": {"commit": commit, "dirty": bool(diff or untracked)}}
    return recorded(environment=environment, diff=diff, untracked=untracked)


def test_only_python_files_matter_since_the_config_is_recorded(repository: Any, tmp_path: Path) -> None:
    then = with_code(repository("rev-parse", "HEAD"))
    assert code_change(then, tmp_path, tmp_path / "runs") is None
    (tmp_path / "notes.md").write_text("x = 2\n")
    change = code_change(then, tmp_path, tmp_path / "runs")
    assert change is not None
    assert not change.matters
    assert "no Python file (1 other file)" in str(change)
    (tmp_path / "net.py").write_text("x = 2\n")
    (tmp_path / "new.py").write_text("x = 2\n")
    change = code_change(then, tmp_path, tmp_path / "runs")
    assert change is not None
    assert change.files == ("net.py", "new.py")
    assert str(change).endswith("with changes: net.py, new.py")


def test_what_was_uncommitted_then_and_is_committed_now_is_the_same_code(repository: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("x = 2\n")
    (tmp_path / "mine.py").write_text("y = 1\n")
    diff = repository("diff", "HEAD") + "\n"
    then = replace(with_code(repository("rev-parse", "HEAD"), diff), untracked={"mine.py": "y = 1\n"})
    assert code_change(then, tmp_path, tmp_path / "runs") is None
    repository("add", ".")
    repository("commit", "-q", "-m", "second")
    assert code_change(then, tmp_path, tmp_path / "runs") is None
    (tmp_path / "mine.py").write_text("y = 2\n")
    change = code_change(then, tmp_path, tmp_path / "runs")
    assert change is not None
    assert change.files == ("mine.py",)


def test_a_commit_that_is_not_here_cannot_be_compared(repository: Any, tmp_path: Path) -> None:
    change = code_change(with_code("a" * 40), tmp_path, tmp_path / "runs")
    assert change is not None
    assert change.matters
    assert "commit aaaaaaaa -> commit " in str(change)
    assert "(the commit of then is not in this repository)" in str(change)
