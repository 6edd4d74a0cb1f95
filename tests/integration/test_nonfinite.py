"""Runs in which something becomes NaN or infinite: what they say, keep and do, and their steps run again."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from expkit import experiment
from expkit.api import Batch, ConfigError, StepResult
from expkit.callbacks import read_epochs, read_steps
from expkit.capsule import read_capsule
from expkit.checkpoint import CheckpointFolder
from expkit.config import compose
from expkit.errors import CheckpointError, TrainingStoppedError
from expkit.replay import replay
from expkit.tracking.store import import_mlflow
from expkit_learners.numpy_linear import NumpyLinear
from tests.integration.conftest import CommandLine

QUICK = (
    *("dataset.download=false", "trainer.epochs=4"),
    *("export=none", "plots=none", "metrics=[mae]"),
)
EXPLODES = "optimizer.learning_rate=3"
"""At step 30, and with half of it once more."""
ROLLBACK = "trainer.on_nonfinite=rollback"
SKIP = "trainer.on_nonfinite=skip"


class Poisoned:
    """Makes a number infinite in batches whose first target is among the smallest; those are 8 of 144."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return the batch, spoiled or as it is."""
        if batch.targets[0, 0] > -0.308:
            return batch
        inputs = batch.inputs.copy()
        inputs[0, 0] = np.inf
        return replace(batch, inputs=inputs)


class Late(NumpyLinear):
    """A learner that says so only after its update, and has no rate that could be made smaller."""

    def train_step(self, inputs: Any, targets: Any) -> StepResult:
        """Spoil the weights."""
        result = super().train_step(inputs, targets)
        self._weight[...] = np.nan
        return replace(result, loss=float("nan"))

    @property
    def scale_learning_rate(self) -> Any:
        """It has none."""
        raise AttributeError


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run in this process, in a folder of the test, and return the run folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    (tmp_path / "conf" / "transforms").mkdir(parents=True)
    (tmp_path / "conf" / "transforms" / "poisoned.yaml").write_text(
        "# @package transforms.poisoned\n_target_: tests.integration.test_nonfinite.Poisoned\n"
    )

    def train(
        name: str, *overrides: str, on: str = "housing_linear", tracking: str = "none", last_step: int | None = None
    ) -> Path:
        folder = tmp_path / "runs" / "housing_linear" / name
        experiment.run(
            compose([f"+experiment={on}", *QUICK, f"tracking={tracking}", *overrides]),
            folder,
            Console(file=io.StringIO()),
            last_step=last_step,
        )
        return folder

    return train


def stopped(train: Callable[..., Path], *overrides: str, **options: str) -> tuple[str, Path]:
    """Return what a run says that stops, and its folder."""
    with pytest.raises(TrainingStoppedError) as caught:
        train("run", *overrides, **options)
    return str(caught.value), Path("runs/housing_linear/run")


def last(run: Path) -> Any:
    return CheckpointFolder(run / "checkpoints").load("last")


def same(one: Path, other: Path) -> None:
    mine, theirs = last(one), last(other)
    for part in ("model", "optimizer"):
        arrays, wanted = getattr(mine.learner, part), getattr(theirs.learner, part)
        assert {n: a.tobytes() for n, a in arrays.items()} == {n: a.tobytes() for n, a in wanted.items()}
    assert (mine.learner.extra, mine.progress, mine.random) == (theirs.learner.extra, theirs.progress, theirs.random)
    assert read_steps(one) == read_steps(other)
    curves = [[{**epoch, "seconds": 0} for epoch in read_epochs(run)] for run in (one, other)]
    assert curves[0] == curves[1]


def test_a_run_that_explodes_says_where_and_what_to_do_next(train: Callable[..., Path]) -> None:
    text, run = stopped(train, EXPLODES)
    lines = text.splitlines()
    assert lines[0] == "the loss is inf at step 30 (epoch 1, batch 30)."
    assert re.fullmatch(r"  where    all layers answer finite numbers, .*; the loss makes inf of them", lines[1])
    capsule = "runs/housing_linear/run/capsules/step-00000030"
    assert lines[2:] == [
        f"  capsule  {capsule}  (the state before the step, the batch, the random state)",
        f"  look     python -m expkit replay {capsule}",
        "  try      a smaller learning rate: optimizer.learning_rate=0.3",
        "  try      trainer.on_nonfinite=rollback  (goes on with the rate times 0.5)",
        "  try      trainer.on_nonfinite=skip  (leaves such batches out)",
    ]
    assert len(read_steps(run)) == 29
    assert json.loads((run / "run.json").read_text())["status"] == "FAILED"


def test_a_step_of_a_capsule_happens_again_bit_by_bit_and_not_with_other_options(train: Callable[..., Path]) -> None:
    _, run = stopped(train, EXPLODES)
    folder = run / "capsules" / "step-00000030"
    again = replay(folder)
    assert (again.found, again.diagnosis.origin) == ("the loss is inf", again.capsule.diagnosis.origin)
    # NaN is no equal of itself; its text is.
    assert str(again.diagnosis.rows) == str(again.capsule.diagnosis.rows)
    assert replay(folder, ["optimizer.learning_rate=0.1"]).too_late
    with pytest.raises(ConfigError, match=r"'seed=1' cannot be tried: the step has its own batch and random state"):
        replay(folder, ["seed=1"])
    with pytest.raises(ConfigError, match=r"the run has no option 'optimizer\.lr'"):
        replay(folder, ["optimizer.lr=1"])


def test_a_batch_with_infinity_in_it_is_blamed_and_no_learning_rate(train: Callable[..., Path]) -> None:
    text, run = stopped(train, "transforms=[poisoned]")
    assert re.search(r"where    the batch itself holds NaN or infinity: 1 of its 100 inputs \(sample 0 of 10\)", text)
    assert "mend the data" in text
    assert "learning_rate" not in text
    (folder,) = (run / "capsules").iterdir()
    capsule = read_capsule(folder)
    assert np.isinf(capsule.inputs).sum() == 1
    assert capsule.snapshot.progress["step"] + 1 == int(folder.name.rpartition("-")[2])
    assert "inputs" in (folder / "report.txt").read_text()


def test_batches_that_are_left_out_are_told_and_counted(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run = train("run", "transforms=[poisoned]", SKIP)
    progress = last(run).progress
    assert progress["skipped"] == 8
    missing = sorted(set(range(1, progress["step"] + 1)) - {step for step, _, _ in read_steps(run)})
    assert missing == sorted(int(p.name.rpartition("-")[2]) for p in (run / "capsules").iterdir())
    assert "The batch is left out (8 of at most 10). Look: python -m expkit replay" in caplog.text
    assert all(np.isfinite(epoch["valid/loss"]) for epoch in read_epochs(run))


def test_leaving_out_has_an_end(train: Callable[..., Path]) -> None:
    text, _ = stopped(train, "transforms=[poisoned]", SKIP, "trainer.nonfinite_limit=3")
    assert "skip     not this time: 3 batches were left out already: trainer.nonfinite_limit=3" in text


def test_a_run_that_is_rolled_back_ends_finite_and_records_no_step_twice(
    train: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run = train("run", EXPLODES, ROLLBACK, tracking="mlflow")
    state = last(run)
    assert state.progress["rollbacks"] == 2
    assert state.learner.extra["rate_factor"] == 0.25
    steps = [step for step, _, _ in read_steps(run)]
    assert len(steps) == len(set(steps)) == state.progress["step"] - 2
    assert read_steps(run)[-1][2] == 3 / 4
    assert [epoch["epoch"] for epoch in read_epochs(run)] == [1, 2, 3, 4]
    assert "Back to the start, and on with the learning rate times 0.5, now 1.5 (1 of at most 10 times)." in caplog.text
    client = import_mlflow().MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    run_id = json.loads((run / "run.json").read_text())["mlflow_run_id"]
    assert sorted(p.step for p in client.get_metric_history(run_id, "step/loss")) == steps
    assert sorted(p.step for p in client.get_metric_history(run_id, "valid/loss")) == [1, 2, 3, 4]
    assert [p.value for p in client.get_metric_history(run_id, "nonfinite/rollbacks")] == [1, 2]
    artifacts = [a.path for a in client.list_artifacts(run_id, "capsules/step-00000030")]
    assert artifacts == ["capsules/step-00000030/report.txt"]  # neither data nor weights leave the run folder


def test_rolling_back_has_an_end_after_which_another_limit_lets_it_go_on(train: Callable[..., Path]) -> None:
    whole = train("whole", EXPLODES, ROLLBACK)
    text, run = stopped(train, EXPLODES, ROLLBACK, "trainer.nonfinite_limit=1")
    assert "rollback not this time: training was taken back 1 time already: trainer.nonfinite_limit=1" in text
    experiment.resume(run, ["trainer.nonfinite_limit=10"], Console(file=io.StringIO()))
    same(whole, run)


@pytest.mark.parametrize(
    ("options", "places"), [((EXPLODES, ROLLBACK), (20, 45, 85)), (("transforms=[poisoned]", SKIP), (50,))]
)
def test_a_run_that_is_resumed_goes_the_same_way(
    train: Callable[..., Path], options: tuple[str, ...], places: tuple[int, ...]
) -> None:
    whole = train("whole", *options)
    paused = train("paused", *options, last_step=places[0])
    for place in (*places[1:], None):
        assert last(paused).progress["step"] < last(whole).progress["step"]
        experiment.resume(paused, console=Console(file=io.StringIO()), last_step=place)
    same(whole, paused)


def test_a_run_that_stopped_can_be_resumed_to_roll_back(train: Callable[..., Path]) -> None:
    text, run = stopped(train, "optimizer.learning_rate=1.6")
    assert f"python -m expkit resume {run} trainer.on_nonfinite=rollback" in text
    experiment.resume(run, [ROLLBACK], Console(file=io.StringIO()))
    assert last(run).progress["rollbacks"] == 1
    assert len(read_epochs(run)) == 4


def test_a_validation_that_is_not_finite_is_kept_and_run_again(train: Callable[..., Path]) -> None:
    text, run = stopped(train, "optimizer.learning_rate=3", "trainer.limit_train_batches=29")
    assert text.startswith("the validation loss is inf after epoch 1, step 29.")
    again = replay(run / "capsules" / "step-00000029-valid")
    assert (again.found, len(again.capsule.inputs)) == ("the loss is inf", 250)  # the first batch of validation
    assert "skip" not in text


def test_the_learner_without_layers_says_what_is_known_and_its_own_option(train: Callable[..., Path]) -> None:
    text, run = stopped(train, "learner.learning_rate=1e60", on="housing_numpy_sgd")
    assert "where    batch and weights are finite, the weights up to " in text
    assert "try      a smaller learning rate: learner.learning_rate=1e+59" in text
    assert "optimizer" not in text
    (folder,) = (run / "capsules").iterdir()
    assert replay(folder).found == replay(folder).capsule.found


def test_a_learner_that_notices_too_late_is_stopped_and_its_capsule_says_so(train: Callable[..., Path]) -> None:
    late = "learner._target_=tests.integration.test_nonfinite.Late"
    with pytest.raises(ConfigError, match="learner=Late cannot make its learning rate smaller"):
        train("refused", late, ROLLBACK, on="housing_numpy_sgd")
    assert not Path("runs/housing_linear/refused").exists()
    text, run = stopped(train, late, SKIP, on="housing_numpy_sgd")
    assert "skip     not this time: learner=Late has made its update already, which cannot be undone" in text
    assert "(the state after the step, the batch, the random state)" in text
    assert not read_capsule(run / "capsules" / "step-00000001").exact


def test_an_update_that_spoils_weights_is_found_before_they_are_kept(train: Callable[..., Path]) -> None:
    text, run = stopped(
        train,
        "optimizer=rmsprop",
        "optimizer.epsilon=1e-46",
        "optimizer.learning_rate=1e38",
        "checkpoint.every_steps=1",
    )
    assert re.match(r"the value of \S+.* is NaN or infinite at step \d+", text)
    assert "the update made it so, of a finite loss and finite gradients" in text
    folder = CheckpointFolder(run / "checkpoints").folder
    for name in folder.glob("epoch-*"):
        assert all(np.isfinite(a).all() for a in CheckpointFolder(folder).load(name.name).learner.model.values())


def test_a_capsule_that_is_damaged_is_refused_by_the_file(train: Callable[..., Path]) -> None:
    _, run = stopped(train, EXPLODES)
    folder = run / "capsules" / "step-00000030"
    for name in ("batch.safetensors", "config.yaml", "state/model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + b"!")
        with pytest.raises(CheckpointError, match=f"{re.escape(name)} is damaged"):
            replay(folder)
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is no capsule: there is no capsule\.json in it"):
        replay(run)


@pytest.mark.slow
def test_the_command_line_shows_it_and_replay_prints_the_layer(expkit: CommandLine) -> None:
    done = expkit(
        "+experiment=housing_linear", *QUICK, "tracking=none", "model=mlp", "optimizer.learning_rate=1e12", code=1
    )
    (command,) = re.findall(r"look     python -m expkit (replay \S+)", done.stderr)
    (layer,) = re.findall(r"the first layer that answers NaN or infinity is (\S+) \(", done.stderr) or ["(loss)"]
    shown = expkit(*command.split(), code=1)
    assert "now     it happens again: the loss is" in shown.stdout
    (line,) = (line for line in shown.stdout.splitlines() if line.endswith("<- the first"))
    assert line.startswith(layer)
    assert "what to try: learner.*, model.*" in expkit("replay", "-h").stdout.replace("\n", " ").replace("  ", "")
