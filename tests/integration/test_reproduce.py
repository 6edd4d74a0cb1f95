"""A run that is done again is the same run, or one is told where and why it is not."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from expkit import experiment
from expkit.api import Callback, ConfigError, StepEnd, TrainingStoppedError
from expkit.auto_resume import find_earlier
from expkit.callbacks import read_epochs
from expkit.config import compose
from expkit.errors import RunNotFoundError
from expkit.interrupts import Stopped
from expkit.reproduction.conduct import reproduce
from expkit.tracking.store import import_mlflow

QUICK = (
    *(
        "+experiment=mnist_cnn",
        "dataset.download=false",
        "dataset.limit=200",
        "trainer.epochs=2",
        "trainer.progress=off",
    ),
    *("export=none", "plots=none", "schedule=polynomial", "transforms=[shift]", "callbacks=[early_stopping]"),
    *("model=mlp", "model.hidden=[16]", "model.dropout=0.2"),
)
STEPS = 14

NET = """\
from paddle import nn

class Net(nn.Sequential):
    def __init__(self, spec):
        super().__init__(nn.Flatten(), nn.Linear(784, spec.outputs))

    def forward(self, inputs):
        return super().forward(inputs) * {factor}
"""


class Place:
    """An empty folder in which runs are made and done again, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""

    def train(self, name: str, *overrides: str) -> Path:
        run = self.folder / "runs" / "mnist_cnn" / name
        experiment.run(compose([*QUICK, *overrides]), run, Console(file=io.StringIO(), width=120))
        return run

    def reproduce(self, reference: str | Path, *changes: str, **options: Any) -> int:
        out = io.StringIO()
        try:
            return reproduce(str(reference), changes=changes, console=Console(file=out, width=200), **options)
        finally:
            self.said = out.getvalue()

    def verdict(self) -> dict[str, Any]:
        newest = max(self.folder.glob("runs/*/*/reproduction.json"), key=lambda file: file.stat().st_mtime_ns)
        return {**json.loads(newest.read_text()), "run": newest.parent}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    return Place(tmp_path)


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Change what a JSON file holds."""
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_a_run_with_dropout_augmentation_and_schedule_comes_out_the_same_from_mlflow_alone(place: Place) -> None:
    run = place.train("20260101-120000-aaa111")
    assert place.reproduce(run) == 0
    assert f"{STEPS} steps, 2 epochs, 7 final values: the same, bit by bit" in place.said
    shutil.rmtree(run)
    assert place.reproduce("aaa111", "tracking.experiment=again") == 0
    assert f"MLflow run {place.verdict()['mlflow_run_id']} in sqlite:///" in place.said
    client = import_mlflow().MlflowClient(f"sqlite:///{place.folder / 'runs' / 'mlflow.db'}")
    before = client.get_run(place.verdict()["mlflow_run_id"])
    record = json.loads((place.verdict()["run"] / "run.json").read_text())
    after = client.get_run(record["mlflow_run_id"])
    assert after.data.tags["reproduces"] == "20260101-120000-aaa111"
    assert after.data.tags["reproduces.mlflow_run_id"] == before.info.run_id
    assert after.data.tags["reproduces.verdict"] == "identical"
    assert before.data.tags["reproduced"].count("identical (2") == 2
    held = {item.path for item in client.list_artifacts(after.info.run_id, "record")}
    assert held == {f"record/{name}" for name in ("run.json", "history.json", "steps.csv", "reproduction.json")}


def test_a_reproduction_that_died_is_not_the_run_to_go_on_with(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none", "trainer.limit_train_batches=1")
    assert place.reproduce(run) == 0
    again = place.verdict()["run"]
    edit(again / "run.json", lambda record: record.update(status="RUNNING"))
    (again / "reproduction.json").unlink()
    options = ("tracking=none", "trainer.limit_train_batches=1", "trainer.auto_resume=true")
    config = compose([*QUICK, *options, f"runs_dir={place.folder / 'runs'}"])
    assert find_earlier(config, place.folder / "new") == run


def test_another_seed_is_found_at_the_first_step_and_named(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none", "seed=5")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("seed: 5", "seed: 6"))
    assert place.reproduce(run) == 1
    verdict = place.verdict()
    assert (verdict["first"]["place"], verdict["first"]["metric"]) == ("step 1 (epoch 1)", "loss")
    assert verdict["differing"]["steps"] == STEPS
    assert "differs     at step 1 (epoch 1): loss " in place.said
    assert "more than rounding" in place.said
    assert "likely why  seed (run.json and config.yaml of the run disagree): 5 -> 6" in place.said


def test_only_the_first_steps_are_compared_when_that_is_asked_for(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none")
    lines = (run / "steps.csv").read_text().splitlines(keepends=True)
    lines[9] = "9,1.5,0.001\n"
    (run / "steps.csv").write_text("".join(lines))
    assert place.reproduce(run, steps=8) == 0
    assert "identical   8 steps, 1 epoch: the same, bit by bit" in place.said
    assert place.reproduce(run, steps=9) == 1
    assert "at step 9 (epoch 2): learning_rate 0.001 -> " in place.said
    assert "Nothing that is recorded differs and could be why" in place.said


def test_other_data_is_refused_with_both_fingerprints_and_sources(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none", "trainer.limit_train_batches=1")

    def other(record: Any) -> None:
        record["data"]["fingerprint"] = "0123456789abcdef"
        record["data"]["source"] = {**record["data"]["source"], "kind": "folder", "location": "/lab/mnist"}

    edit(run / "run.json", other)
    said = r"\(stand-in: scikit-learn load_digits\) has the .*\(folder: /lab/mnist\) with 0123456789ab\.\.\."
    with pytest.raises(ConfigError, match=said):
        place.reproduce(run)
    assert [path.name for path in run.parent.iterdir()] == [run.name]


class StopsAtStepTen(Callback):
    """Sends this process a signal after step 10."""

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_run_that_was_stopped_is_compared_as_far_as_it_came(place: Place) -> None:
    (place.folder / "conf" / "callbacks").mkdir(parents=True)
    (place.folder / "conf" / "callbacks" / "stops.yaml").write_text(
        "# @package callbacks.stops\n_target_: tests.integration.test_reproduce.StopsAtStepTen\n"
    )
    with pytest.raises(Stopped):
        place.train("20260101-120000-aaa111", "tracking=none", "callbacks=[stops]")
    run = place.folder / "runs" / "mnist_cnn" / "20260101-120000-aaa111"
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("StopsAtStepTen", "Quiet"))
    assert place.reproduce(run) == 0
    assert "(killed, 10 steps; compared up to step 10)" in place.said
    assert "identical   10 steps, 1 epoch" in place.said


class Quiet(Callback):
    """Does nothing."""


def test_a_run_that_went_on_for_more_epochs_is_done_in_the_same_parts(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none")
    experiment.resume(run, ["trainer.epochs=3"], Console(file=io.StringIO()))
    assert place.reproduce(run) == 0
    assert f"resumed     after step {STEPS} with trainer.epochs=3" in place.said
    assert "identical   21 steps, 3 epochs, 7 final values" in place.said
    assert len(read_epochs(place.verdict()["run"])) == 3


def test_a_run_that_diverged_diverges_again_at_the_same_step(place: Place) -> None:
    wild = ("tracking=none", "optimizer=sgd", "optimizer.learning_rate=1e30", "schedule=constant")
    with pytest.raises(TrainingStoppedError):
        place.train("20260101-120000-aaa111", *wild)
    assert place.reproduce("aaa111") == 0
    assert "failed      " in place.said
    assert "the same, bit by bit" in place.said


def test_a_record_that_was_cut_proves_nothing(place: Place) -> None:
    run = place.train("20260101-120000-aaa111")
    (run / "steps.csv").write_text("step,loss,learning_rate\n")
    assert place.reproduce(run) == 0  # by what MLflow holds
    assert f"{STEPS} steps, 2 epochs, 7 final values: the same, bit by bit" in place.said
    shutil.move(place.folder / "runs" / "mlflow.db", place.folder / "gone.db")
    with pytest.raises(RunNotFoundError, match=rf"0 of {STEPS} steps and 2 of 2 epochs. steps.csv or history.json"):
        place.reproduce(run)
    (run / "steps.csv").write_text("step,loss,learning_rate\n4,abc,0.1\n")
    with pytest.raises(RunNotFoundError, match=r"steps.csv is damaged: '4,abc,0.1'"):
        place.reproduce(run)


def test_code_that_changed_where_the_run_went_on_is_said_and_named_as_the_cause(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    (place.folder / "part.py").write_text("FACTOR = 1\n")
    (place.folder / ".gitignore").write_text("runs/\ncache/\n")
    git("init", "-q", "-b", "work")
    git("add", "part.py")
    git("commit", "-q", "-m", "first")
    run = place.train("20260101-120000-aaa111", "tracking=none", "trainer.stop_after=1")
    (place.folder / "part.py").write_text("FACTOR = 2\n")
    experiment.resume(run, ["trainer.stop_after=null"], Console(file=io.StringIO()))
    assert "The run goes on with something else than before, which is recorded: code: " in caplog.text
    (place.folder / "part.py").write_text("FACTOR = 1\n")
    assert place.reproduce(run) == 0
    (cause,) = place.verdict()["otherwise"]
    assert cause["what"] == "code, in the run itself from step 7"


def test_a_job_of_a_sweep_is_done_again_as_a_run_of_its_own(place: Place) -> None:
    place.train("sweep-20260101-120000-aaa111/3", "tracking=none", "trainer.limit_train_batches=2")
    assert place.reproduce("aaa111.3") == 0
    assert place.verdict()["of"] == "sweep-20260101-120000-aaa111.3"
    assert place.verdict()["run"].parent.name == "mnist_cnn"


@pytest.mark.slow
def test_code_of_today_is_named_and_code_of_then_brought_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "conf" / "model").mkdir(parents=True)
    (place.folder / "conf" / "model" / "mine.yaml").write_text("_target_: reproduced_net.Net\n")
    source = place.folder / "src"  # beside the config, its text would be kept with the run, and used again
    source.mkdir()
    net = source / "reproduced_net.py"
    net.write_text(NET.format(factor=9))
    (place.folder / ".gitignore").write_text("runs/\ncache/\n")
    git("init", "-q", "-b", "work")
    git("add", "src/reproduced_net.py", ".gitignore")
    git("commit", "-q", "-m", "first")
    net.write_text(NET.format(factor=2))  # an uncommitted change belongs to the run, too
    monkeypatch.syspath_prepend(str(source))
    path = os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    # In a fresh process, as the code of then will be run: on AMD its settings would come too late for this one.
    overrides = [*QUICK[:-3], "model=mine", "tracking=none", "hydra.run.dir=runs/mnist_cnn/20260101-120000-aaa111"]
    subprocess.run([sys.executable, "-m", "expkit", *overrides], check=True, capture_output=True)
    net.write_text(NET.format(factor=3))
    (place.folder / "notes.txt").write_text("not code")
    git("commit", "-q", "-a", "-m", "second")
    assert place.reproduce("aaa111") == 1
    assert "with changes -> commit " in place.said
    assert ": src/reproduced_net.py  (--code recorded runs the code of then)" in place.said
    assert place.verdict()["first"]["place"] == "step 1 (epoch 1)"
    assert [cause["what"] for cause in place.verdict()["otherwise"]] == ["code"]
    assert place.reproduce("aaa111", code="recorded") == 0
    assert place.verdict()["verdict"] == "identical"
    listed = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1
    net.unlink()


def test_what_cannot_be_done_again_is_refused_with_its_reason(place: Place) -> None:
    run = place.train("20260101-120000-aaa111", "tracking=none", "trainer.limit_train_batches=1")
    with pytest.raises(ConfigError, match=r"with another seed it would be another run"):
        place.reproduce(run, "seed=3")
    with pytest.raises(RunNotFoundError, match=r"no run 'bbb222' in runs"):
        place.reproduce("bbb222")
    edit(run / "environment.json", lambda facts: facts["git"].update(commit="0" * 40))
    with pytest.raises(ConfigError, match=r"the commit 0{40} of the run is not in the repository"):
        place.reproduce(run, code="recorded")
    edit(run / "environment.json", lambda facts: facts.update(git={}))
    with pytest.raises(ConfigError, match="was not started in a git checkout, so its code is not recorded"):
        place.reproduce(run, code="recorded")
    edit(run / "run.json", lambda record: record.update(status="KILLED"))
    (run / "steps.csv").unlink()
    with pytest.raises(ConfigError, match="did no step that is recorded"):
        place.reproduce(run)
    (run / "config.yaml").unlink()
    with pytest.raises(RunNotFoundError, match="does not say how its run was made"):
        place.reproduce(run)
