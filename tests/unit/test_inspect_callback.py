from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

from expkit.api import ArraySplit, ConfigError, EpochEnd, FitEnd, FitStart, LearnerState
from expkit.data import Batches
from expkit.metrics import Meter
from expkit.testing import example_batch, example_specs
from expkit.trainer import Monitor, Trainer
from expkit_callbacks.inspection import Inspect
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.cross_entropy import CrossEntropy
from expkit_models.mlp import MLP
from expkit_optimizers.adam import adam
from expkit_regularizers.none import NoRegularizer

GREY, COLOUR, TABLE = example_specs()


class Net(nn.Sequential):
    """All that has a state of its own, and convolutions to draw."""

    def __init__(self, spec):
        depth = spec.input_shape[0]
        super().__init__(
            ("conv1", nn.Conv2D(depth, 6, 5, stride=2)),
            ("norm", nn.BatchNorm2D(6)),
            ("relu", nn.ReLU()),
            ("conv2", nn.Conv2D(6, 8, 3, stride=2)),
            ("flatten", nn.Flatten()),
            ("drop", nn.Dropout(0.2)),
            ("head", nn.Linear(8 * (25 if spec is GREY else 36), spec.outputs)),
        )


class Parts:
    """What a learner asks for."""

    epochs, steps_per_epoch, seed, device, tune = 2, 3, 0, "cpu", True
    team, engine = None, "paddle"

    def __init__(self, spec=GREY, model=Net, to_static=False):
        self.spec, self.made, self.to_static = spec, model, to_static

    def model(self):
        return self.made(self.spec)

    def loss(self):
        return CrossEntropy(self.spec)

    def regularizer(self):
        return NoRegularizer()

    def optimizer(self, parameters):
        return adam(parameters, learning_rate=0.01)


def batches(spec, seed=0, **options):
    batch = example_batch(spec, samples=24, seed=seed)
    return Batches(ArraySplit(batch.inputs, batch.targets), spec, batch_size=8, **options)


def train(folder, callbacks, parts=None, epochs=2):
    """Train briefly; return all that came of it, and what was logged."""
    parts = parts or Parts()
    random.seed(0)
    np.random.seed(0)
    paddle.seed(0)
    learner, logged = PaddleLearner(parts), []
    trainer = Trainer(
        learner,
        batches(parts.spec, shuffle=True),
        batches(parts.spec, seed=1),
        meters={use: Meter({}) for use in ("step", "train", "eval")},
        callbacks=callbacks,
        monitor=Monitor("valid/loss", higher_is_better=False),
        epochs=epochs,
        folder=folder,
        log=lambda values, step: logged.append((step, dict(values))),
    )
    trainer.fit()
    state = learner.state_dict()
    arrays = {**state.model, **state.optimizer}
    result = {name: array.tobytes() for name, array in arrays.items()}
    after = random.random(), np.random.rand(), paddle.rand([]).item()
    return (result, trainer.progress.best, after), logged


@pytest.mark.parametrize("to_static", [False, True])
def test_training_is_bit_identical_with_and_without_it(tmp_path, to_static):
    parts = Parts(to_static=to_static)
    without, _ = train(tmp_path, [], parts)
    watched, _ = train(tmp_path, [Inspect(every=1)], parts)
    assert watched == without
    assert (tmp_path / "inspect" / "epoch_002.txt").is_file()


def test_a_run_gets_tables_pictures_and_values(tmp_path):
    _, logged = train(tmp_path, [Inspect(samples=16)], epochs=3)
    assert "conv2    Conv2D       [N, 8, 5, 5]" in (tmp_path / "inspect" / "layers.txt").read_text()
    assert sorted(p.name for p in (tmp_path / "inspect").glob("epoch*")) == ["epoch_000.txt", "epoch_003.txt"]
    text = (tmp_path / "inspect" / "epoch_003.txt").read_text()
    assert text.startswith("epoch 3, 16 samples of train: loss ") and "\nNothing is odd.\n" in text
    assert "conv2    output " in text and "         weight gradient " in text
    names = sorted(p.name for p in (tmp_path / "plots").iterdir())
    assert names == ["feature_maps.png", "histograms.png", "kernels.png"]
    assert [step for step, _ in logged] == [0, 9]
    layers = [f"inspect/{layer}/" for layer in ("conv1", "norm", "conv2", "head")]
    values = ("activation_mean", "activation_std", "gradient_norm")
    assert set(logged[0][1]) == {a + b for a in layers for b in values} | {"inspect/dead_units"}


def test_every_chooses_the_epochs(tmp_path):
    _, logged = train(tmp_path, [Inspect(every=2, split="valid")], epochs=5)
    assert [step for step, _ in logged] == [0, 6, 12, 15]
    assert "samples of valid" in (tmp_path / "inspect" / "epoch_002.txt").read_text()


def test_the_batch_is_spread_over_a_sorted_split(tmp_path):
    asked = []

    class Watched(ArraySplit):
        def gather(self, indices):
            asked.append(indices.tolist())
            return super().gather(indices)

    source = batches(GREY)
    source.split = Watched(source.split.inputs, source.split.targets)
    callback = Inspect(samples=4)
    callback.on_fit_start(FitStart(GREY, 1, 1, 0, tmp_path, learner=PaddleLearner(Parts()), train=source, valid=source))
    assert asked == [[0, 7, 15, 23]]


class Dying(nn.Sequential):
    """Its first unit never wakes."""

    def __init__(self, spec):
        first = nn.Linear(784, 4)
        first.bias.set_value(np.array([-1e4, 0, 0, 0], np.float32))
        last = nn.Linear(4, spec.outputs)
        super().__init__(("flatten", nn.Flatten()), ("first", first), ("relu", nn.ReLU()), ("head", last))


def test_dead_units_are_written_and_counted(tmp_path):
    _, logged = train(tmp_path, [Inspect()], Parts(model=Dying))
    assert "\nrelu: 1 of 4 units are 0 for all 24 samples\n" in (tmp_path / "inspect" / "epoch_000.txt").read_text()
    assert [values["inspect/dead_units"] for _, values in logged] == [1.0, 1.0]


@pytest.mark.parametrize("parts", [Parts(COLOUR), Parts(model=MLP)], ids=["colour", "no convolution"])
def test_pictures_of_other_models(tmp_path, parts):
    train(tmp_path, [Inspect(every=1)], parts, epochs=1)
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as picture:
            assert 300 <= picture.width <= 1700 and 200 <= picture.height <= 1700
    wanted = {"histograms.png"} | ({"kernels.png", "feature_maps.png"} if parts.spec is COLOUR else set())
    assert {p.name for p in (tmp_path / "plots").iterdir()} == wanted


class Plain:
    """A learner of another engine, which shows no model."""

    def state_dict(self):
        return LearnerState({"weight": np.arange(13.0), "bias": np.zeros(1)}, {})


def test_of_a_learner_without_a_model_there_are_the_weights(tmp_path):
    callback, source = Inspect(), batches(TABLE)
    callback.on_fit_start(FitStart(TABLE, 1, 3, 0, tmp_path, learner=Plain(), train=source, valid=source))
    callback.on_epoch_end(EpochEnd(1, 3, {}, True, 0.1, print))
    callback.on_fit_end(FitEnd("finished", "", 1, 3))
    text = (tmp_path / "inspect" / "epoch_001.txt").read_text()
    assert "Plain shows no layers" in text and "weight: mean 6, std 3.74, L2 norm 25.5" in text
    assert [p.name for p in (tmp_path / "plots").iterdir()] == ["histograms.png"]


def test_training_that_ends_early_is_looked_at_where_it_ended(tmp_path):
    class Stop(Inspect):
        def on_epoch_end(self, event):
            super().on_epoch_end(event)
            event.stop("enough")

    train(tmp_path, [Stop()], epochs=7)
    assert (tmp_path / "inspect" / "epoch_001.txt").is_file()
    assert (tmp_path / "plots" / "histograms.png").is_file()


def test_a_resumed_run_goes_on_with_its_histograms(tmp_path):
    first, second = Inspect(every=1), Inspect(every=1)
    learner, source = PaddleLearner(Parts()), batches(GREY)
    start = {"learner": learner, "train": source, "valid": source}
    first.on_fit_start(FitStart(GREY, 2, 3, 0, tmp_path, **start))
    first.on_epoch_end(EpochEnd(1, 3, {}, True, 0.1, print))
    kept = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    first.on_fit_end(FitEnd("paused", "", 1, 3))
    assert not (tmp_path / "plots").exists()
    second.load_state_dict(kept)
    assert second.state_dict() == first.state_dict()
    second.on_fit_start(FitStart(GREY, 2, 3, 3, tmp_path, **start))
    second.on_epoch_end(EpochEnd(2, 6, {}, True, 0.1, print))
    second.on_fit_end(FitEnd("finished", "", 2, 6))
    assert [look["epoch"] for look in second.state_dict()["looks"]] == [0, 1, 2]
    assert (tmp_path / "plots" / "histograms.png").is_file()


def test_without_word_from_the_trainer_there_is_nothing_to_see(tmp_path):
    callback = Inspect()
    callback.on_fit_start(FitStart(GREY, 1, 1, 0, Path("no such folder")))
    callback.on_fit_end(FitEnd("finished", "", 1, 1))
    assert callback.state_dict() == {"looks": []}


@pytest.mark.parametrize(("option", "value"), [("every", 0), ("samples", 0), ("split", "'test'")])
def test_option_out_of_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=rf"callbacks\.inspect\.{option}={value}"):
        Inspect(**{option: value.strip("'") if isinstance(value, str) else value})
