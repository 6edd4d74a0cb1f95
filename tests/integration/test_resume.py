"""A run that was interrupted and resumed is the run that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expkit import experiment
from expkit.api import Callback, ConfigError, StepEnd
from expkit.callbacks import read_epochs, read_steps
from expkit.cli.resume import main as resume_verb
from expkit.config import compose
from expkit.errors import CallbackError, CheckpointError, RunNotFoundError
from expkit.interrupts import Stopped
from expkit.runs import read_record
from expkit.tracking.store import import_mlflow
from tests.integration.resuming import QUICK, choose, console, same


def test_a_paused_run_goes_on_bit_identically(train: Callable[..., Path]) -> None:
    whole = train("whole", "tracking=none")
    paused = train("paused", "tracking=none", "trainer.stop_after=1")
    record = json.loads((paused / "run.json").read_text())
    assert (record["status"], record["reason"]) == (
        "PAUSED",
        "paused after epoch 1 of 3, as trainer.stop_after=1 says",
    )
    result = experiment.resume(paused, console=console())
    same(whole, paused)
    record = json.loads((paused / "run.json").read_text())
    assert (record["status"], len(record["resumed"]), "reason" in record) == ("FINISHED", 1, False)
    assert result.metrics == json.loads((whole / "run.json").read_text())["metrics"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_goes_on_with_the_next_step(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    whole = train("whole", "tracking=none")
    choose(tmp_path, "stops", "StopsInEpochTwo")
    with pytest.raises(Stopped):
        train("stopped", "tracking=none", "callbacks=[early_stopping,stops]")
    stopped = tmp_path / "runs" / "mnist_cnn" / "stopped"
    steps = [step for step, _, _ in read_steps(stopped)]
    assert steps == list(range(1, 11))
    assert json.loads((stopped / "run.json").read_text())["status"] == "KILLED"
    experiment.resume(stopped, console=console())
    same(whole, stopped)  # the metrics of epoch 2, too, which was measured in two pieces
    assert "will cover only" not in (stopped / "run.log").read_text()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_metric_without_a_state_is_named_when_it_missed_a_part_of_its_epoch(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "conf" / "metrics").mkdir(parents=True)
    (tmp_path / "conf" / "metrics" / "seen.yaml").write_text(
        "# @package metrics.seen\n_target_: tests.integration.test_resume.Seen\n"
    )
    choose(tmp_path, "stops", "StopsInEpochTwo")
    with pytest.raises(Stopped):
        train("stopped", "tracking=none", "callbacks=[stops]", "metrics=[accuracy,seen]")
    stopped = tmp_path / "runs" / "mnist_cnn" / "stopped"
    experiment.resume(stopped, console=console())
    assert [epoch["train/seen"] for epoch in read_epochs(stopped)] == [200.0, 200.0 - 3 * 32, 200.0]
    assert "Of epoch 2, train/seen will cover only the batches after step 10" in (stopped / "run.log").read_text()


@pytest.mark.parametrize("loading", ["sync", "prefetch", "workers"])
def test_a_checkpoint_within_an_epoch_is_gone_on_from_bit_identically(
    train: Callable[..., Path], tmp_path: Path, loading: str
) -> None:
    options = ("tracking=none", f"dataset.loading={loading}", "dataset.workers=2")
    whole = train("whole", *options)
    choose(tmp_path, "fails", "FailsAtStep12")
    FailsAtStep12.failed = False
    with pytest.raises(CallbackError, match="RuntimeError: at step 12"):
        train("broken", *options, "callbacks=[early_stopping,fails]", "checkpoint.every_steps=5")
    broken = tmp_path / "runs" / "mnist_cnn" / "broken"
    assert (broken / "checkpoints" / "epoch-0002-step-00000010").is_dir()
    experiment.resume(broken, console=console())
    same(whole, broken)


class FailsAtStep12(Callback):
    """Fails, once in this process."""

    role, failed = "essential", False

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 12 and not FailsAtStep12.failed:
            FailsAtStep12.failed = True
            raise RuntimeError("at step 12")


class Seen:
    """Counts samples, and has no state."""

    higher_is_better = True

    def reset(self) -> None:
        self.samples = 0

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        self.samples += len(targets)

    def compute(self) -> float:
        return float(self.samples) or float("nan")


class StopsInEpochTwo(Callback):
    """Sends this process a signal after step 10."""

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_same_run_of_the_store_goes_on_without_a_point_twice_or_missing(train: Callable[..., Path]) -> None:
    paused = train("tracked", "trainer.stop_after=1")
    client = import_mlflow().MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    run_id = json.loads((paused / "run.json").read_text())["mlflow_run_id"]
    tracked = client.get_run(run_id)
    assert tracked.info.status == "KILLED"
    assert tracked.data.tags["status.reason"].startswith("paused after epoch 1 of 3")
    client.set_tag(run_id, "engine", "onednn")  # as if that epoch had been computed by another one
    experiment.resume(paused, console=console())
    tracked = client.get_run(run_id)
    assert (tracked.info.status, tracked.data.tags["engine"]) == ("FINISHED", "paddle")
    assert "status.reason" not in tracked.data.tags
    assert len(client.search_runs([tracked.info.experiment_id])) == 1
    steps = [(point.step, point.value) for point in client.get_metric_history(run_id, "step/loss")]
    assert sorted(steps) == [(step, loss) for step, loss, _ in read_steps(paused)]
    epochs = [point.step for point in client.get_metric_history(run_id, "valid/loss")]
    assert sorted(epochs) == [1, 2, 3]
    assert tracked.data.metrics.keys() >= {"test/accuracy", "valid/best_accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1], ids=["the same run", "one that learns otherwise"])
def test_a_run_that_a_sweep_goes_on_with_has_its_options_where_they_change_nothing_that_is_learned(
    train: Callable[..., Path], seed: int
) -> None:
    paused = train("paused", "trainer.stop_after=1")
    now = compose(
        [*QUICK, "+tracking.tags.by=me", "export=paddle", "plots=default", "plots.mistakes=3", f"seed={seed}"]
    )
    experiment.resume(paused, (), console(), now=now)
    record = read_record(paused)
    assert (record["status"], record["epochs"], record["seed"]) == ("FINISHED", 3, 0)
    assert (record["choices"]["plots"], record["choices"]["model"]) == ("default", "mlp")
    assert (paused / "plots").is_dir()
    assert (paused / "export").is_dir()
    assert "mistakes: 3" in (paused / "config.yaml").read_text()
    client = import_mlflow().MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    assert client.get_run(record["mlflow_run_id"]).data.tags["by"] == "me"


def test_a_finished_run_trains_on_for_more_epochs_only(train: Callable[..., Path]) -> None:
    run = train("done", "tracking=none")
    with pytest.raises(ConfigError, match=r"its 3 epochs are done\. More of them: .*trainer\.epochs=8"):
        experiment.resume(run, console=console())
    experiment.resume(run, ["trainer.epochs=4"], console())
    assert [epoch["epoch"] for epoch in read_epochs(run)] == [1, 2, 3, 4]
    assert "epochs: 4" in (run / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "model.hidden=[8]",
            r"it would be another run \(model\.hidden was \[16\], would be \[8\]\)\. What may change",
        ),
        ("model=cnn", r"with another model it would be another run \(model was 'mlp', would be cnn\)\."),
        ("trainer.epoch=5", r"Did you mean 'trainer\.epochs'"),
        ("device=cpu", r"with another device it would be another run .*one by one: device\.NAME=VALUE"),
        ("device.nme=cpu", r"the run has no option 'device\.nme'"),
        ("+trainer.epochs=5", "a change is written key=value"),
        ("trainer.epochs", "a change is written key=value"),
        ("trainer.epochs=0", r"trainer\.epochs=0: must be at least 1"),
    ],
)
def test_a_change_that_cannot_be_is_refused(train: Callable[..., Path], change: str, said: str) -> None:
    run = train("paused", "tracking=none", "trainer.stop_after=1", "trainer.limit_train_batches=1")
    before = (run / "run.json").read_text()
    with pytest.raises(ConfigError, match=said):
        experiment.resume(run, [change], console())
    assert (run / "run.json").read_text() == before


def test_other_data_is_refused(train: Callable[..., Path]) -> None:
    run = train("paused", "tracking=none", "trainer.stop_after=1", "trainer.limit_train_batches=1")
    record = json.loads((run / "run.json").read_text())
    record["data"]["fingerprint"] = "0" * 64
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="the data is not that of the run"):
        experiment.resume(run, console=console())


def test_what_is_not_there_is_named(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="is not a run folder"):
        experiment.resume(tmp_path, console=console())
    run = train("paused", "tracking=none", "trainer.stop_after=1", "trainer.limit_train_batches=1")
    shutil.rmtree(next((run / "checkpoints").glob("epoch-*")))
    with pytest.raises(CheckpointError, match="there is no last checkpoint"):
        experiment.resume(run, console=console())


def test_changes_may_stand_behind_the_checkpoint_as_they_do_in_the_command_that_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("expkit.cli.resume.find_run", lambda run, runs_dir, having: Path(run))
    monkeypatch.setattr(
        "expkit.experiment.resume", lambda run, changes, checkpoint: asked.append((changes, checkpoint))
    )
    for arguments in (["r", "--checkpoint", "c", "trainer.epochs=2"], ["r", "trainer.epochs=2", "--checkpoint", "c"]):
        resume_verb(arguments)
    assert asked == [(["trainer.epochs=2"], "c")] * 2
