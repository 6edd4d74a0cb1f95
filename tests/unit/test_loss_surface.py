import json
import logging

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

from expkit.api import ArraySplit, ConfigError, DataSource, DataSpec, FitEnd, FitStart, StepEnd, TableInput, Values
from expkit.seeding import random_state
from expkit.testing import example_specs
from expkit_callbacks._surface import _heights, find_weight, measure_surface
from expkit_callbacks.loss_surface import FILE, LossSurface
from expkit_learners.numpy_linear import NumpyLinear
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.squared_error import SquaredError
from expkit_regularizers.none import NoRegularizer

SOURCE = DataSource("generated", "tests")
COLUMNS = ("RM", "TAX", "$AGE")


class Parts:
    """What a learner asks for."""

    epochs, steps_per_epoch, seed, device, tune, to_static = 1, 1, 0, "cpu", False, False
    team, engine = None, "paddle"

    def __init__(self, precision):
        zeros, ones = (0.0,) * 3, (1.0,) * 3
        target = Values(("price",), (0.0,), (1.0,), precision=precision)
        self.spec = DataSpec("houses", TableInput(COLUMNS, zeros, ones, precision), target, SOURCE, "0" * 64)

    def model(self):
        return nn.Sequential(("drop", nn.Dropout(0.5)), ("head", nn.Linear(3, 1)))

    def loss(self):
        return SquaredError(self.spec)

    def regularizer(self):
        return NoRegularizer()

    def optimizer(self, parameters):
        return paddle.optimizer.Adam(0.1, parameters=parameters)


class Training:
    """A learner, the rows it learns from, and what a trainer tells of it."""

    def __init__(self, folder, kind=NumpyLinear, precision="float64"):
        parts, random = Parts(precision), np.random.default_rng(0)
        inputs, targets = random.normal(size=(20, 3)), random.normal(size=(20, 1)).astype(precision)
        self.learner, self.split, self.folder = kind(parts), ArraySplit(inputs, targets), folder
        self.batch = parts.spec.input.normalise(inputs), targets
        self.start = FitStart(parts.spec, 1, 1, 0, folder, learner=self.learner, train=self)

    def run(self, callback, first=1, last=5, status="finished"):
        for step in range(first, last + 1):
            loss = self.learner.train_step(*self.batch).loss
            callback.on_step_end(StepEnd(1, step, step, 20, loss, 0.01, {}))
        callback.on_fit_end(FitEnd(status, "", 1, last))

    def weights(self):
        return [array.ravel().tolist() for array in self.learner.state_dict().model.values()]


def surface(**options):
    return LossSurface(**{"x": "w0", "y": "w1", "low": -2.0, "high": 2.0, "points": 9, **options})


def bits(state):
    arrays = [*sorted(state.model.items()), *sorted(state.optimizer.items())]
    return [(name, array.tobytes()) for name, array in arrays], dict(state.extra)


def test_the_path_is_where_the_weights_were_after_each_step(tmp_path):
    training, callback = Training(tmp_path), surface(x="TAX", y="bias[0]")
    callback.on_fit_start(training.start)
    wanted = [[training.weights()[0][1], 0.0]]
    for step in range(1, 4):
        training.run(callback, step, step, status="interrupted")
        weight, bias = training.weights()
        wanted.append([weight[1], bias[0]])
    assert callback.state_dict()["path"] == wanted
    assert not (tmp_path / FILE).exists()  # an interrupted training has no picture yet


@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_training_walks_the_same_path(tmp_path, every):
    whole, torn = Training(tmp_path), Training(tmp_path)
    callback = surface(every=every)
    callback.on_fit_start(whole.start)
    whole.run(callback, last=8, status="interrupted")
    first, second = surface(every=every), surface(every=every)
    first.on_fit_start(torn.start)
    torn.run(first, last=5, status="interrupted")
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.on_fit_start(torn.start)
    torn.run(second, first=6, last=8, status="interrupted")
    assert second.state_dict() == callback.state_dict()
    assert len(second.state_dict()["path"]) == 1 + 8 // every


def test_a_long_path_keeps_every_second_point(tmp_path, monkeypatch):
    monkeypatch.setattr("expkit_callbacks.loss_surface._LONGEST", 8)
    training, every, some = Training(tmp_path), surface(), surface(every=2)
    for callback in (every, some):
        callback.on_fit_start(training.start)
    for step in range(1, 13):
        training.learner.train_step(*training.batch)
        for callback in (every, some):
            callback.on_step_end(StepEnd(1, step, step, 20, 1.0, 0.01, {}))
    assert every.state_dict() == some.state_dict()
    assert len(every.state_dict()["path"]) == 7  # after 0, 2, ... 12 steps


@pytest.mark.parametrize(("kind", "precision"), [(NumpyLinear, "float64"), (PaddleLearner, "float32")])
def test_drawing_leaves_the_learner_and_the_random_numbers_as_they_were(tmp_path, kind, precision):
    training, callback = Training(tmp_path, kind, precision), surface(x="w0", y="$AGE")
    callback.on_fit_start(training.start)
    training.run(callback, status="interrupted")
    before, random = bits(training.learner.state_dict()), random_state()
    callback.on_fit_end(FitEnd("finished", "", 1, 5))
    assert bits(training.learner.state_dict()) == before
    assert random_state() == random
    with Image.open(tmp_path / FILE) as picture:
        assert picture.size == (1440, 648)
        assert np.asarray(picture.convert("L")).std() > 5


def test_losses_are_those_of_the_learner_with_these_weights(tmp_path):
    training = Training(tmp_path)
    places = [("weight", (0, 0)), ("bias", (0,))]
    axis = np.linspace(-1.0, 3.0, 9)
    values, losses = measure_surface(training.learner, *training.batch, places, axis, seconds=60)
    assert values.tolist() == axis.tolist()
    (x, y), weight = training.batch, training.learner.state_dict().model["weight"].copy()
    weight[0] = axis[2]
    assert losses[7, 2] == pytest.approx(np.square(x @ weight + axis[7] - y).mean(), rel=1e-12)  # by (y, x)


def test_a_slow_learner_gets_fewer_points_but_not_too_few(tmp_path):
    training = Training(tmp_path)
    places = [("weight", (0, 0)), ("weight", (1, 0))]
    values, losses = measure_surface(training.learner, *training.batch, places, np.linspace(-2, 2, 500), seconds=1e-9)
    assert losses.shape == (9, 9)
    assert values.tolist() == np.linspace(-2, 2, 9).tolist()


def test_weights_come_back_even_when_a_loss_cannot_be_measured(tmp_path, caplog):
    training, callback = Training(tmp_path), surface(low=-1e200, high=1e200)
    callback.on_fit_start(training.start)
    training.run(callback, status="interrupted")
    before = training.weights()
    with caplog.at_level(logging.WARNING, "expkit"):
        callback.on_fit_end(FitEnd("finished", "", 1, 5))
    assert training.weights() == before
    assert "loss_surface.png could not be drawn: NotFiniteError: the loss is inf" in caplog.text
    assert not (tmp_path / FILE).exists()


def test_the_path_lies_on_the_surface_and_is_not_drawn_outside_of_it():
    values = np.array([0.0, 1.0, 2.0])
    losses = np.array([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0], [20.0, 21.0, 22.0]])  # x + 10 y
    path = np.array([[0.0, 0.0], [0.5, 1.5], [2.0, 2.0], [2.1, 1.0], [1.0, -0.1]])
    assert _heights(values, losses, path).tolist() == pytest.approx([0.0, 15.5, 22.0, np.nan, np.nan], nan_ok=True)


MODEL = {"conv.weight": np.zeros((4, 1, 3, 3)), "head.weight": np.zeros((6, 1)), "head.bias": np.zeros(1)}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("conv.weight[3,0,2,1]", ("conv.weight", (3, 0, 2, 1))),
        ("head.weight[5,0]", ("head.weight", (5, 0))),
        ("head.weight[5]", ("head.weight", (5, 0))),
        ("head.weight[ 5 , 0 ]", ("head.weight", (5, 0))),
        ("head.bias", ("head.bias", (0,))),
        ("w5", ("head.weight", (5, 0))),
        ("f", ("head.weight", (5, 0))),
    ],
)
def test_a_weight_is_found_by_array_and_index_or_by_a_short_name(name, place):
    assert find_weight("x", name, MODEL, "abcdef") == place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "head.weight",
            r"x='head.weight' names no single weight. The model has conv.weight \[4, 1, 3, 3\], head.weight",
        ),
        ("head.weight[6]", r"names no single weight. .*; one number of the first is 'conv.weight\[0,0,0,0\]'"),
        ("head.wieght[0]", r"Did you mean 'head.weight' or "),
        ("head.weight[0][0]", "names no single weight"),
        ("head.weight[-1]", "names no single weight"),
        ("w6", r"names no single weight\..* Short names: w0, w1, w2, w3, w4, w5, a, b, c, d, e, f\."),
    ],
)
def test_a_name_that_is_no_single_weight_is_refused_with_those_there_are(name, message):
    with pytest.raises(ConfigError, match=message):
        find_weight("x", name, MODEL, "abcdef")


def test_there_are_no_short_names_where_they_could_mean_several_things():
    for model in ({"a": np.zeros((6, 1)), "b": np.zeros((6, 1))}, {"a": np.zeros((6, 2))}):
        with pytest.raises(ConfigError, match=r"names no single weight\. The model has [^S]*$"):
            find_weight("x", "w0", model, ())


def test_a_weight_that_is_not_there_ends_the_run_before_its_first_step(tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks\.loss_surface\.y='w3' names no single weight"):
        surface(y="w3").on_fit_start(Training(tmp_path).start)
    with pytest.raises(ConfigError, match="x=w0 and y=RM are the same weight"):
        surface(y="RM").on_fit_start(Training(tmp_path).start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 2.0}, "low=2.0, high=2.0: low must be the smaller of two numbers"),
        ({"high": float("inf")}, "high=inf"),
        ({"points": 8}, "callbacks.loss_surface.points=8: must be at least 9"),
        ({"every": 0}, "callbacks.loss_surface.every=0: must be at least 1"),
        ({"samples": 0}, "callbacks.loss_surface.samples=0: must be at least 1"),
        ({"seconds": 0.0}, "callbacks.loss_surface.seconds=0.0: must be above 0"),
        ({"y": "w0"}, "x=w0, y=w0: must be two different weights"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        surface(**options)


def test_it_watches_a_training_that_shows_no_learner(tmp_path):
    callback = surface()
    callback.on_fit_start(FitStart(example_specs()[2], 1, 1, 0, tmp_path))
    callback.on_step_end(StepEnd(1, 1, 1, 20, 1.0, 0.01, {}))
    callback.on_fit_end(FitEnd("finished", "", 1, 1))
    assert callback.state_dict()["path"] == []
    assert list(tmp_path.iterdir()) == []
