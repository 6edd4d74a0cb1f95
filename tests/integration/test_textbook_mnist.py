"""The textbook's digits: what its experiments must show, on genuine MNIST where it is there, smaller always."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from expkit import experiment
from expkit.api import Array
from expkit.callbacks import read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder
from expkit.config import compose
from expkit.tracking.store import import_mlflow

BARE = ("tracking=none", "export=none", "trainer.progress=off")
TRANSFORMS = "tia_distort,tia_stretch,tia_perspective,rotate,crop,flip,brightness,copy_paste,mosaic,cutmix"


class Done:
    """A finished run."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        self.metrics = experiment.run(compose(overrides), folder, Console(file=io.StringIO())).metrics

    def losses(self) -> list[float]:
        return [loss for _, loss, _ in read_steps(self.folder)]

    def weights(self) -> dict[str, Array]:
        return dict(CheckpointFolder(self.folder / "checkpoints").load("last").learner.model)


Run = Callable[..., Done]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run an experiment on scikit-learn's digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    count = iter(range(100))
    return lambda name, *more: Done(
        tmp_path / f"run{next(count)}", f"+experiment={name}", "dataset.download=false", *BARE, *more
    )


@pytest.fixture
def genuine(genuine_data: Path, tmp_path: Path) -> Run:
    """Run an experiment on genuine MNIST, which must not be replaced."""
    root = f"dataset.root={genuine_data / 'mnist'}"
    return lambda name, *more: Done(tmp_path / name, f"+experiment={name}", root, "plots=none", *BARE, *more)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "low", "high"),
    [
        ("mnist_linear", "rounded_accuracy", 0.15, 0.30),
        ("mnist_softmax", "accuracy", 0.91, 0.93),
        ("mnist_mlp", "accuracy", 0.97, 1.0),
    ],
)
def test_the_textbooks_models_reach_what_it_says(genuine: Run, name: str, metric: str, low: float, high: float) -> None:
    assert low <= genuine(name).metrics[f"test/{metric}"] <= high


@pytest.mark.slow
def test_few_digits_are_learned_by_heart_and_l2_keeps_a_network_from_it(genuine: Run) -> None:
    free = genuine("mnist_cnn_l2", "regularizer.coefficient=0", "trainer.epochs=12")
    epochs = read_epochs(free.folder)
    assert epochs[-1]["train/accuracy"] > 0.995 > 0.97 > epochs[-1]["valid/accuracy"]
    assert epochs[-1]["valid/loss"] > 5 * epochs[-1]["train/loss"]


def test_a_straight_line_through_pixels_fails_where_classes_do_not(stand_in: Run) -> None:
    brief = ("trainer.epochs=3", "plots=none")
    line = stand_in("mnist_linear", *brief).metrics["test/rounded_accuracy"]
    classes = stand_in("mnist_softmax", *brief, "optimizer.learning_rate=0.01").metrics["test/accuracy"]
    assert line < 0.5 < 0.85 < classes


def test_softmax_in_the_network_learns_what_softmax_in_the_loss_does(stand_in: Run) -> None:
    brief = ("trainer.epochs=1", "trainer.limit_train_batches=15", "plots=none")
    ours = stand_in("mnist_softmax", *brief)
    textbook = stand_in("mnist_softmax", *brief, "model.output=softmax", "loss.from_probabilities=true")
    assert textbook.losses() == pytest.approx(ours.losses(), rel=1e-4)
    assert textbook.metrics["test/accuracy"] == ours.metrics["test/accuracy"]


@pytest.mark.slow
def test_a_static_graph_has_the_losses_of_the_dynamic_one(stand_in: Run) -> None:
    brief = ("trainer.epochs=1", "trainer.limit_train_batches=15", "plots=none")
    static, dynamic = stand_in("mnist_static", *brief).losses(), stand_in("mnist_cnn", *brief).losses()
    assert len(static) == 15
    assert static == pytest.approx(dynamic, rel=0, abs=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "by_the_optimizer"),
    [("momentum", "optimizer.weight_decay=0.05"), ("momentum", "optimizer.decay=l1,optimizer.weight_decay=0.01")],
)
def test_decay_by_the_optimizer_is_decay_of_every_parameter(
    stand_in: Run, optimizer: str, by_the_optimizer: str
) -> None:
    brief = (
        *("model=linear", f"optimizer={optimizer}", "trainer.epochs=1", "trainer.limit_train_batches=15"),
        *("plots=none", "callbacks=[]"),
    )
    experiment, coefficient = ("mnist_cnn_l1", 0.01) if "l1" in by_the_optimizer else ("mnist_cnn_l2", 0.05)
    each = stand_in(experiment, *brief, f"regularizer.coefficient={coefficient}")
    whole = stand_in("mnist_cnn", *brief, "schedule=constant", *by_the_optimizer.split(","))
    assert each.losses() == whole.losses()
    assert each.weights().keys() == whole.weights().keys()
    assert all(np.array_equal(array, whole.weights()[name]) for name, array in each.weights().items())


@pytest.mark.slow
def test_a_regularizer_holds_weights_down_in_the_layers_that_it_is_for(stand_in: Run) -> None:
    brief = ("trainer.epochs=2", "plots=none")
    free = stand_in("mnist_cnn_l2", *brief, "regularizer.coefficient=0").weights()
    held = stand_in(
        "mnist_cnn_layerwise", *brief, "regularizer.l1={conv*.weight: 0}", "regularizer.l2={head.weight: 1}"
    )
    norms = {name: np.linalg.norm(held.weights()[name]) / np.linalg.norm(free[name]) for name in free}
    assert norms["head.weight"] < 0.7
    assert norms["conv1.weight"] > 0.9


def test_norms_of_weights_are_logged_and_drawn(stand_in: Run, tmp_path: Path) -> None:
    brief = ("trainer.epochs=2", "trainer.limit_train_batches=3", "tracking=mlflow", "tracking.checkpoints=false")
    run = stand_in("mnist_cnn_layerwise", *brief)
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (tracked,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    points = [p.value for p in client.get_metric_history(tracked.info.run_id, "weights/head.weight")]
    assert points[-1] == pytest.approx(np.linalg.norm(run.weights()["head.weight"]), rel=1e-5)
    pictures = {file.path for file in client.list_artifacts(tracked.info.run_id, "plots")}
    assert pictures >= {"plots/curves.png", "plots/weight_norms.png"}


def test_augmented_samples_are_drawn_on_the_run(stand_in: Run) -> None:
    brief = ("trainer.epochs=1", "trainer.limit_train_batches=3")
    for transforms in ((), (f"transforms=[{TRANSFORMS}]",)):
        with Image.open(stand_in("mnist_cnn_augmented", *brief, *transforms).folder / "plots/augmented.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 20
