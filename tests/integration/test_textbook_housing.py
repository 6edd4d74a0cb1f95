"""The textbook's regression of house prices: its numbers on the genuine file, the same arithmetic on the stand-in."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from expkit import experiment
from expkit.callbacks import read_steps
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.config import compose
from expkit.predict import Predictor

BARE = ("tracking=none", "plots=none", "export=none", "trainer.progress=off")
STAND_IN = "diabetes (stand-in for housing)"


class Done:
    """A finished run."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        config = compose(overrides)
        self.folder = folder
        self.metrics = experiment.run(config, folder, Console(file=io.StringIO())).metrics
        self.data = config.dataset.build(batch_size=config.loader.batch_size)

    @property
    def losses(self) -> list[float]:
        return [loss for _, loss, _ in read_steps(self.folder)]

    def last(self) -> Snapshot:
        return CheckpointFolder(self.folder / "checkpoints").load("last")

    def rows(self) -> tuple[Any, Any]:
        """Training inputs [N, F] and targets [N, 1], normalised."""
        return self.data.spec.input.normalise(self.data.train.inputs), self.data.train.targets


Run = Callable[..., Done]


@pytest.fixture
def genuine(genuine_data: Path, tmp_path: Path) -> Run:
    """Run an experiment on the genuine file, which must not be replaced."""
    return lambda name, *more: Done(
        tmp_path / "run", f"+experiment={name}", f"dataset.root={genuine_data / 'uci_housing'}", *BARE, *more
    )


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run an experiment without the file."""
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    return lambda name, *more: Done(tmp_path / "run", f"+experiment={name}", "dataset.download=false", *BARE, *more)


def textbook(x: Any, y: Any, w: Any, iterations: int, eta: float, moving: Any = slice(None)) -> list[float]:
    """Return the losses of the textbook's loop, written as it is there; the bias moves with all weights only."""
    b, losses = 0.0, []
    for _ in range(iterations):
        z = np.dot(x, w) + b
        losses.append(np.sum((z - y) * (z - y)) / len(y))
        gradient_w = np.mean((z - y) * x, axis=0)[:, np.newaxis]
        w = w.copy()
        w[moving] = w[moving] - eta * gradient_w[moving]
        b -= eta * np.mean(z - y) if moving == slice(None) else 0.0
    return losses


def test_gradient_descent_gives_the_losses_of_the_textbook(genuine: Run) -> None:
    losses = genuine("housing_numpy_gd").losses
    assert len(losses) == 1000
    assert losses[0] == pytest.approx(8.74595446663459, abs=1e-9)
    assert losses[9] == pytest.approx(5.143394325795511, abs=1e-9)
    assert losses[999] == pytest.approx(0.17513006784373505, abs=1e-9)


def test_two_weights_walk_down_the_surface_as_in_the_textbook(genuine: Run) -> None:
    done = genuine("housing_numpy_w5w9", "callbacks.loss_surface.points=21")
    assert len(done.losses) == 2000
    assert done.losses[0] == pytest.approx(7873.345739941161, abs=1e-9)
    assert done.losses[-1] == pytest.approx(3.1849851132, abs=1e-9)
    path = done.last().callbacks["loss_surface"]["path"]
    assert path[0] == [-100.0, -100.0]
    gradient = [(before - after) / 0.01 for before, after in zip(path[0], path[1], strict=True)]
    assert gradient == pytest.approx([-45.87968288123223, -35.50236884482904], abs=1e-9)
    assert len(path) == 2001
    assert (done.folder / "plots" / "loss_surface.png").is_file()


def test_mini_batches_make_the_loss_jump_while_its_mean_falls(genuine: Run) -> None:
    done = genuine("housing_numpy_sgd")
    steps = np.array(done.losses).reshape(50, 5)
    assert (np.diff(steps.ravel()) > 0).sum() > 80  # of 249 changes
    assert (np.diff(steps[:, :4].mean(axis=1)[::5]) < 0).all()
    assert steps[10:, 4].std() > 3 * steps[10:, :4].std()  # the last batch has 4 rows
    assert done.metrics["valid/mse"] == pytest.approx(0.0744506, abs=1e-7)
    assert done.metrics["test/rmse"] == pytest.approx(32.6709, abs=1e-4)


def test_the_closed_form_is_the_best_line(genuine: Run) -> None:
    metrics = genuine("housing_numpy_exact").metrics
    assert metrics["train/mse"] == metrics["valid/mse"] == pytest.approx(0.0112485825, abs=5e-11)
    assert metrics["test/mse"] == pytest.approx(0.0161974631, abs=5e-11)
    assert metrics["train/rmse"] == pytest.approx(4.7727, abs=5e-5)
    assert metrics["test/rmse"] == pytest.approx(5.7271, abs=5e-5)


def test_paddle_answers_a_raw_row_in_dollars(genuine: Run, genuine_data: Path, tmp_path: Path) -> None:
    done = genuine("housing_linear", "export=paddle")
    assert done.metrics["valid/rmse"] == pytest.approx(10.2176, abs=1e-3)
    table = np.loadtxt(genuine_data / "uci_housing" / "housing.data")
    first, train = table[0], table[:404]
    (tmp_path / "row.csv").write_text(",".join(str(value) for value in first[:13]) + "\n")
    (answer,) = Predictor.of_export(done.folder / "export" / "paddle").files([str(tmp_path / "row.csv")])
    # By hand: columns less their mean over their range, and the price back again.
    mean, extent = train.mean(axis=0), np.ptp(train, axis=0)
    weights = done.last().learner.model
    z = ((first - mean) / extent)[:13] @ weights["head.weight"] + weights["head.bias"]
    price = float(z[0] * extent[13] + mean[13])
    assert answer.answers[0]["values"]["MEDV"] == pytest.approx(price, rel=1e-5)
    assert answer.answers[0]["unit"] == "1000 dollars"
    assert 10 < price < 50  # the dearest house of the table costs 50, the cheapest 5


def test_the_same_arithmetic_on_the_stand_in(stand_in: Run) -> None:
    done = stand_in("housing_numpy_gd", "trainer.epochs=2", "dataset.repeat=10")
    assert done.data.spec.name == STAND_IN
    x, y = done.rows()
    start = np.random.RandomState(0).randn(x.shape[1], 1)
    np.testing.assert_allclose(done.losses, textbook(x, y, start, 20, 0.01), rtol=1e-12)


def test_two_weights_on_the_stand_in(stand_in: Run) -> None:
    done = stand_in("housing_numpy_w5w9", "trainer.epochs=2", "dataset.repeat=10", "callbacks.loss_surface.points=9")
    x, y = done.rows()
    start = np.random.RandomState(0).randn(x.shape[1], 1)
    start[5] = start[9] = -100.0
    np.testing.assert_allclose(done.losses, textbook(x, y, start, 20, 0.01, [5, 9]), rtol=1e-12)
    path, weights = done.last().callbacks["loss_surface"]["path"], done.last().learner.model["weight"]
    assert path[0] == [-100.0, -100.0]
    assert path[20] == [weights[5, 0], weights[9, 0]]
    assert (done.folder / "plots" / "loss_surface.png").is_file()


def test_mini_batches_on_the_stand_in(stand_in: Run) -> None:
    done = stand_in("housing_numpy_sgd", "trainer.epochs=3")
    assert len(done.losses) == 12  # 353 rows in batches of 100
    assert done.losses[-1] < done.losses[0]


def test_the_closed_form_on_the_stand_in(stand_in: Run) -> None:
    done = stand_in("housing_numpy_exact")
    x, y = done.rows()
    full = np.hstack([x, np.ones((len(x), 1))])
    best = np.linalg.solve(full.T @ full, full.T @ y)  # the normal equations
    assert done.metrics["train/mse"] == pytest.approx(np.square(full @ best - y).mean(), rel=1e-9)


def test_a_row_of_the_stand_in_is_answered_in_its_own_unit(stand_in: Run, tmp_path: Path) -> None:
    done = stand_in("housing_numpy_exact", "export=paddle")
    (tmp_path / "row.csv").write_text(",".join(str(value) for value in done.data.test.inputs[0]) + "\n")
    (answer,) = Predictor.of_export(done.folder / "export" / "paddle").files([str(tmp_path / "row.csv")])
    true = done.data.spec.target.decode(done.data.test.targets[:1])[0]["values"]
    assert list(answer.answers[0]["values"]) == list(true)
    assert 25 <= next(iter(answer.answers[0]["values"].values())) <= 346  # the range of the table
