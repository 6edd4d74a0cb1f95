from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn
from small_learner import Net, Parts, batch, bits, learner, train

from expkit.api import ConfigError, LearnerState, TableInput, Values
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.testing import example_specs
from expkit_callbacks._surface import measure_surface
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.squared_error import SquaredError

ONE = replace(example_specs()[2], input=TableInput(("x",), (0.0,), (1.0,)), target=Values(("y",), (0.0,), (1.0,)))


class Line(nn.Layer):
    """Answer w x, from w = 0."""

    def __init__(self):
        super().__init__()
        self.w = self.create_parameter([1, 1], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x):
        return paddle.matmul(x, self.w)


class LineParts(Parts):
    """One number in, one number out, gradient descent at a constant rate."""

    spec = ONE

    def __init__(self, to_static):
        super().__init__(schedule=None, model=Line, to_static=to_static)

    def loss(self):
        return SquaredError(self.spec)


def line(to_static=False, **options):
    return PaddleLearner(LineParts(to_static), **options)


def follow(trained, targets):
    """Make a step towards each target, from x = 1, and return raw and averaged weights after each."""
    found = []
    for target in targets:
        trained.train_step(np.ones((1, 1), np.float32), np.full((1, 1), target, np.float32))
        state = trained.state_dict()
        found.append((state.model["w"].item(), state.optimizer["w/ema"].item()))
    return found


def test_the_average_by_hand():
    # The gradient of (w - 10)^2 is 2 (w - 10), the rate 0.05: w goes a tenth of the way, to 1, 1.9, 2.71. With a decay
    # of 0.5 the average goes half of the way from where it is to w: 0.5, 1.2, 1.955.
    found = follow(line(ema=0.5, ema_warmup=False), [10, 10, 10])
    np.testing.assert_allclose(found, [(1, 0.5), (1.9, 1.2), (2.71, 1.955)], rtol=1e-6)


def test_the_warm_up_by_hand():
    # Kept are 1/10, 2/11, then 0.2, which is below 3/12: 0.9 * 1, then 2/11 * 0.9 + 9/11 * 1.9, then a fifth of that.
    found = follow(line(ema=0.2), [10, 10, 10])
    second = (2 * 0.9 + 9 * 1.9) / 11
    np.testing.assert_allclose([average for _, average in found], [0.9, second, 0.2 * second + 0.8 * 2.71], rtol=1e-6)


def test_a_slow_average_with_warm_up_follows_a_short_training_and_without_it_does_not():
    warm, cold = line(ema=0.999), line(ema=0.999, ema_warmup=False)
    (raw, followed), (_, stuck) = follow(warm, [10] * 60)[-1], follow(cold, [10] * 60)[-1]
    assert raw > 9.9 and followed > 9.5 and stuck < 1


@pytest.mark.parametrize("to_static", [False, True])
def test_what_is_measured_is_the_average_and_what_is_trained_the_raw_weight(to_static):
    trained = line(to_static, ema=0.5, ema_warmup=False)
    follow(trained, [10])
    x, y = np.ones((1, 1), np.float32), np.full((1, 1), 10, np.float32)
    assert trained.predict(x).item() == 0.5
    assert trained.eval_step(x, y).loss == pytest.approx(9.5**2)
    assert trained.model.w.item() == pytest.approx(1)
    assert trained.train_step(x, y).loss == pytest.approx(9**2)


def test_an_average_changes_no_bit_of_the_training():
    with_it, without = learner("adam", of={"ema": 0.9}), learner("adam")
    for number in range(3):
        assert train(with_it, [number]) == train(without, [number])
        with_it.eval_step(*batch(9))
    assert bits(LearnerState(with_it.state_dict().model, {})) == bits(LearnerState(without.state_dict().model, {}))


def test_a_second_model_draws_no_random_number():
    def noisy():
        random.random(), np.random.rand()
        return Net()

    drawn = []
    for options in ({}, {"ema": 0.9}):
        random.seed(0)
        np.random.seed(0)
        learner(of=options, model=noisy)
        drawn.append((random.random(), np.random.rand(), paddle.rand([1]).item()))
    assert drawn[0] == drawn[1]


class Counting(Net):
    """Counts its calls, in a buffer and in another tensor that takes its place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", paddle.zeros([1], "int64"))
        self.conv.bias.stop_gradient = True

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        return super().forward(x)


def test_statistics_are_averaged_counters_copied_and_frozen_weights_stay_exact():
    trained = learner(of={"ema": 0.5, "ema_warmup": False}, model=Counting)
    start = trained.state_dict()
    expected = start.model["norm._mean"]
    for number in range(3):
        train(trained, [number])
        now = trained.state_dict()
        expected = expected + np.float32(0.5) * (now.model["norm._mean"] - expected)
        np.testing.assert_allclose(now.optimizer["norm._mean/ema"], expected, rtol=1e-6)
    assert now.optimizer["calls/ema"].item() == now.model["calls"].item() == 3
    np.testing.assert_array_equal(now.optimizer["conv.bias/ema"], start.model["conv.bias"])
    assert not np.array_equal(now.optimizer["head.weight/ema"], start.model["head.weight"])


def test_a_weight_with_two_names_is_averaged_once():
    class Tied(Net):
        def __init__(self):
            super().__init__()
            self.again = self.head

    trained = learner(of={"ema": 0.5, "ema_warmup": False}, model=Tied)
    start = trained.state_dict().model["head.bias"]
    train(trained, [0])
    state = trained.state_dict()
    np.testing.assert_allclose(state.optimizer["head.bias/ema"], (start + state.model["head.bias"]) / 2, rtol=1e-6)
    assert not np.array_equal(start, state.model["head.bias"])


@pytest.mark.parametrize(
    ("name", "options"), [("sgd", {}), ("adam", {"fused": True}), ("lamb", {}), ("asgd", {"batches": 3})]
)
@pytest.mark.parametrize("warmup", [True, False])
def test_a_resumed_training_is_bit_identical_average_included(tmp_path, name, options, warmup):
    of = {"ema": 0.9, "ema_warmup": warmup}
    first = learner(name, of=of, **options)
    train(first, range(3))
    folder = CheckpointFolder(tmp_path)
    folder.save(Snapshot(first.state_dict(), {"epoch": 1, "step": 3}), best=True)
    wanted = train(first, range(3, 7))
    nn.Sequential(nn.Conv2D(1, 1, 1), nn.Linear(2, 2), nn.BatchNorm2D(2))  # shifts Paddle's global names
    second = learner(name, of=of, **options)
    train(second, range(20, 22))  # it had a life before
    second.load_state_dict(folder.load("last").learner)
    assert train(second, range(3, 7)) == wanted
    assert bits(second.state_dict()) == bits(first.state_dict())
    np.testing.assert_array_equal(second.predict(batch(9)[0]), first.predict(batch(9)[0]))


def test_averages_are_kept_by_structured_names_and_the_number_of_updates_with_them():
    trained = learner("momentum", of={"ema": 0.9})
    train(trained, range(2))
    state = trained.state_dict()
    assert {key for key in state.optimizer if key.endswith("/ema")} == {f"{name}/ema" for name in state.model}
    assert state.extra["ema"] == {"updates": 2}
    kept = bits(state)
    train(trained, range(2, 4))
    assert bits(state) == kept


def test_an_export_is_the_averaged_model(tmp_path):
    trained = learner("sgd", of={"ema": 0.9})
    train(trained, range(5))
    inputs, state = batch(0)[0], trained.state_dict()
    predict = trained.export(tmp_path)
    np.testing.assert_allclose(predict(inputs), trained.predict(inputs), atol=1e-5)
    raw = learner("sgd")
    raw.load_state_dict(LearnerState(state.model, {}))
    assert np.abs(predict(inputs) - raw.predict(inputs)).max() > 1e-2
    raw.load_state_dict(LearnerState({name: state.optimizer[f"{name}/ema"] for name in state.model}, {}))
    np.testing.assert_array_equal(raw.predict(inputs), trained.predict(inputs))


def test_with_a_model_that_comes_alone_the_average_begins_anew():
    trained = learner("adam", of={"ema": 0.9})
    train(trained, range(3))
    state = trained.state_dict()
    trained.load_state_dict(LearnerState(state.model, {}))
    now = trained.state_dict()
    assert now.extra["ema"] == {"updates": 0}
    np.testing.assert_array_equal(now.optimizer["head.weight/ema"], state.model["head.weight"])


def test_a_surface_is_measured_over_the_raw_weights_and_leaves_the_average_as_it_was():
    trained = learner("adam", of={"ema": 0.9})
    train(trained, range(3))
    before, places = bits(trained.state_dict()), [("head.bias", (0,)), ("head.bias", (1,))]
    _, losses = measure_surface(trained, *batch(0), places, np.array([-5.0, 5.0]), seconds=60)
    assert len(np.unique(losses)) == 4
    assert bits(trained.state_dict()) == before


def test_a_state_without_averages_is_refused_and_nothing_has_changed():
    averaging, plain = learner("sgd", of={"ema": 0.9}), learner("sgd")
    train(plain, range(2))
    before = bits(averaging.state_dict())
    with pytest.raises(ConfigError, match=r"no averaged weights, but learner\.ema=0\.9 is to measure them"):
        averaging.load_state_dict(plain.state_dict())
    state = averaging.state_dict()
    fewer = {key: array for key, array in state.optimizer.items() if key != "head.bias/ema"}
    with pytest.raises(ConfigError, match="no averaged weights"):
        averaging.load_state_dict(LearnerState(state.model, fewer, state.extra))
    assert bits(averaging.state_dict()) == before


def test_a_state_with_averages_is_refused_where_they_would_be_dropped():
    with pytest.raises(ConfigError, match=r"has averaged weights, which learner\.ema=null would drop"):
        learner("sgd").load_state_dict(learner("sgd", of={"ema": 0.9}).state_dict())


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ConfigError, match=rf"learner\.ema={decay}: must be above 0 and below 1, or null"):
        learner(of={"ema": decay})
