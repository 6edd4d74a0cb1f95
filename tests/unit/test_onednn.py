"""Convolutions through oneDNN compute what Paddle's own kernels do, and give way where they do not."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import paddle
import pytest
from paddle import nn
from small_learner import SPEC, Parts, batch, bits, train

from expkit.api import ConfigError, NotFiniteError
from expkit_learners import _onednn
from expkit_learners._onednn import Engine
from expkit_learners.paddle_learner import PaddleLearner

pytestmark = pytest.mark.skipif(not paddle.base.core.is_compiled_with_onednn(), reason="this Paddle has no oneDNN")
SETTINGS = [
    {},
    {"bias_attr": False},
    {"padding": [1, 2]},
    {"padding": [1, 2, 0, 1]},
    {"padding": [[0, 0], [0, 0], [1, 2], [0, 1]]},
    {"stride": [1, 2], "padding": 2},
    {"dilation": 2, "padding": 2},
    {"groups": 2, "padding": 1},
    {"groups": 4, "padding": 1},
]


class Net(nn.Layer):
    """Alike and unlike convolutions, one used twice, with all that has a state; the path depends on numbers."""

    def __init__(self, *_):
        super().__init__()
        self.first = nn.Conv2D(1, 4, 3, stride=2, padding=1)
        self.again = nn.Conv2D(4, 4, 3, padding=1)
        self.twin = nn.Conv2D(4, 4, 3, padding=1, bias_attr=False)
        self.norm, self.pool, self.drop = nn.BatchNorm2D(4), nn.MaxPool2D(2), nn.Dropout(0.2)
        self.head = nn.Linear(4 * 49, 10)

    def forward(self, x):
        x = self.again(self.again(self.first(x)))
        x = self.norm(self.twin(x))
        if float(x.mean()) > 100:
            x = x * 0
        return self.head(self.drop(self.pool(x)).flatten(1))


def taken(make):
    """Return a layer and its twin, which oneDNN computes."""
    stock, fast, engine = make(), make(), Engine("cpu")
    fast.set_state_dict(stock.state_dict())
    engine.take(fast)
    return stock, fast, engine


def answers(model, x, *, first=False):
    """Output and gradients, for gradients of the output that differ everywhere."""
    inputs = paddle.to_tensor(x, stop_gradient=first)
    outputs = model(inputs)
    weights = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    (outputs * paddle.to_tensor(weights)).sum().backward()
    found = [outputs.numpy(), *([] if first else [inputs.grad.numpy()])]
    found += [p.grad.numpy() for p in model.parameters() if not p.stop_gradient]
    model.clear_gradients()
    return found


def assert_alike(wanted, found):
    for one, other in zip(wanted, found, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def learner(engine="onednn", clip_norm=None, **options):
    parts = Parts("adam", model=Net, clip_norm=clip_norm)
    parts.engine = engine
    paddle.seed(0)
    return PaddleLearner(parts, **options)


@pytest.mark.parametrize("settings", SETTINGS)
def test_output_and_gradients_are_those_of_paddles_own_kernel_for_batches_of_any_size(settings):
    stock, fast, engine = taken(lambda: nn.Conv2D(4, 8, 3, **settings))
    for shape in ((3, 4, 11, 9), (1, 4, 5, 5), (16, 4, 14, 14), (3, 4, 11, 9)):
        for first in (False, True):
            assert_alike(answers(stock, images(*shape), first=first), answers(fast, images(*shape), first=first))
    assert engine.told == "onednn"


def test_a_frozen_weight_gets_no_gradient_and_its_input_does():
    stock, fast, _ = taken(lambda: nn.Conv2D(4, 8, 3))
    for layer in (stock, fast):
        layer.weight.stop_gradient = True
    assert_alike(answers(stock, images(2, 4, 9, 9)), answers(fast, images(2, 4, 9, 9)))
    assert fast.weight.grad is None


def test_new_weights_are_seen_in_training_and_in_evaluation():
    stock, fast, _ = taken(lambda: nn.Conv2D(4, 8, 3))
    for seed in range(3):
        weight = np.random.default_rng(seed).normal(size=stock.weight.shape).astype(np.float32)
        for layer in (stock, fast):
            layer.weight.set_value(weight)
        assert_alike(answers(stock, images(2, 4, 9, 9)), answers(fast, images(2, 4, 9, 9)))
        with paddle.no_grad():
            assert_alike([stock(paddle.ones([2, 4, 9, 9])).numpy()], [fast(paddle.ones([2, 4, 9, 9])).numpy()])


def test_images_of_many_sizes_go_through_one_after_the_other():
    stock, fast, engine = taken(lambda: nn.Conv2D(1, 2, 3))
    for extent in (*range(5, 25), 5, 6):
        assert_alike(answers(stock, images(2, 1, extent, 7)), answers(fast, images(2, 1, extent, 7)))
    assert engine.told == "onednn"


def test_nan_spreads_as_ever():
    stock, fast, _ = taken(lambda: nn.Conv2D(4, 8, 3))
    broken = images(2, 4, 9, 9)
    broken[0, 1, 4, 4] = np.nan
    wanted, found = (np.isnan(layer(paddle.to_tensor(broken)).numpy()) for layer in (stock, fast))
    assert wanted.any()
    assert (wanted == found).all()


def test_a_gradient_of_a_gradient_is_refused_instead_of_wrong():
    _, fast, _ = taken(lambda: nn.Conv2D(4, 8, 3))
    inputs = paddle.to_tensor(images(2, 4, 9, 9), stop_gradient=False)
    with pytest.raises(OSError, match=r"knows no gradient of a gradient.*Set device\.engine=paddle"):
        paddle.grad(fast(inputs).sum(), inputs, create_graph=True)


def test_what_is_changed_in_place_before_its_gradient_is_refused():
    _, fast, _ = taken(lambda: nn.Conv2D(4, 8, 3))
    inputs = paddle.to_tensor(images(2, 4, 9, 9), stop_gradient=False) * 1
    outputs = fast(inputs).sum()
    inputs.add_(paddle.ones_like(inputs))
    with pytest.raises(OSError, match="changed in place"):
        outputs.backward()


def test_a_kernel_that_computes_otherwise_is_given_up_with_a_warning(monkeypatch, caplog):
    stock, fast, engine = taken(lambda: nn.Conv2D(4, 8, 3))
    right = _onednn._Convolution.backward

    def wrong(self, x, weight, gradient, needs):
        dx, dw = right(self, x, weight, gradient, needs)
        return dx, dw + 0.01 * dw.abs().max()

    monkeypatch.setattr(_onednn._Convolution, "backward", wrong)
    with caplog.at_level(logging.WARNING, logger="expkit.learners"):
        found = answers(fast, images(2, 4, 9, 9))
    assert all((one == other).all() for one, other in zip(answers(stock, images(2, 4, 9, 9)), found, strict=True))
    assert engine.told.startswith("paddle (oneDNN given up: convolution [8, 4, 3, 3] of inputs [2, 4, 9, 9]")
    assert "the weight's gradient is another" in caplog.text


def test_a_kernel_that_fails_is_given_up_with_its_error(monkeypatch, caplog):
    stock, fast, engine = taken(lambda: nn.Conv2D(4, 8, 3))
    monkeypatch.setattr(_onednn._legacy_C_ops, "run_program", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING, logger="expkit.learners"):
        assert_alike(answers(stock, images(2, 4, 9, 9)), answers(fast, images(2, 4, 9, 9)))
    assert "ZeroDivisionError: division by zero" in engine.told


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Engine, "gpu:0"), r"is for the CPU, but this run uses gpu:0"),
        (partial(Engine, "cpu", to_static=True), r"goes with trainer\.to_static=false only"),
        (lambda: Engine("cpu").take(nn.Linear(3, 4)), r"Linear has no float32 nn\.Conv2D with plain settings"),
        (lambda: Engine("cpu").take(nn.Conv2D(1, 2, 3, padding="SAME")), r"no float32 nn\.Conv2D with plain settings"),
    ],
)
def test_where_it_would_have_no_effect_it_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_training_is_that_of_paddles_engine_up_to_rounding_last_batch_included():
    stock, fast = learner("paddle", ema=0.9), learner(ema=0.9)
    assert (stock.tags(), fast.tags()) == ({"engine": "paddle"}, {"engine": "onednn"})
    for number, size in ((0, 8), (1, 8), (2, 3), (3, 8)):
        losses = []
        for one in (stock, fast):
            paddle.seed(number)
            losses.append(one.train_step(*batch(number, size)).loss)
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert stock.eval_step(*batch(9)).loss == pytest.approx(fast.eval_step(*batch(9)).loss, rel=1e-3)
    assert fast.tags() == {"engine": "onednn"}


def test_clipped_gradients_are_those_of_paddles_engine():
    losses = [train(learner(engine, clip_norm=0.1), range(5)) for engine in ("paddle", "onednn")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0] != train(learner("paddle"), range(5))


def test_a_step_that_is_not_finite_is_refused_and_changes_nothing():
    trained = learner()
    train(trained, range(2))
    before = bits(trained.state_dict())
    inputs, targets = batch(2)
    inputs[3, 0, 5, 5] = np.nan
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        trained.train_step(inputs, targets)
    assert bits(trained.state_dict()) == before


def test_a_resumed_training_is_bit_identical():
    whole, before, after = learner(), learner(), learner()
    losses = train(whole, range(4))
    train(before, range(2))
    after.load_state_dict(before.state_dict())
    assert train(after, range(2, 4)) == losses[2:]
    assert bits(after.state_dict()) == bits(whole.state_dict())


def test_weights_are_measured_elsewhere_without_it():
    parts = Parts("adam", model=Net)
    parts.engine, parts.training, parts.device = "onednn", False, "gpu:0"
    assert PaddleLearner(parts).tags() == {"engine": "paddle"}


@pytest.mark.slow
def test_an_export_answers_as_the_training_model(tmp_path):
    trained = learner()
    train(trained, range(2))
    inputs = batch(5)[0]
    np.testing.assert_allclose(trained.export(tmp_path)(inputs), trained.predict(inputs), rtol=1e-4, atol=1e-5)
    assert trained.predict(inputs).shape == (8, SPEC.outputs)
