from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from paddle import nn
from small_learner import OPTIMIZERS, Net, Parts, batch, bits, learner, train

from expkit.api import ConfigError, LearnerState, NotFiniteError
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit_learners import _amp
from expkit_regularizers.l2 import L2

# Paddle for the CPU says this and computes in float32, so that what a cast does to numbers is for a GPU to show. All
# else is the same code there: scaling, leaving steps out, and what is kept.
pytestmark = pytest.mark.filterwarnings("ignore:amp_guard can only be enabled:UserWarning")


@pytest.fixture
def as_on_gpu(monkeypatch):
    monkeypatch.setattr(_amp, "computes_in", lambda kind: True)


def scaled(*arguments, of=None, **options):
    return learner(*arguments, of={"amp": "float16", **(of or {})}, **options)


class Steep(Net):
    """Answers as its network does, with gradients that a test makes too large."""

    slope = 0.0

    def forward(self, x):
        out = super().forward(x)
        return out + (out - out.detach()) * self.slope * self.slope if self.training else out


@pytest.fixture
def overflow(monkeypatch):
    """Make the gradients of one step overflow once they are scaled."""

    def step(trained, number=0):
        paddle.seed(number)
        with monkeypatch.context() as patch:
            patch.setattr(Steep, "slope", 1e18)
            return trained.train_step(*batch(number))

    return step


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_on_a_device_that_cannot_it_is_refused_and_not_ignored(kind):
    with pytest.raises(
        ConfigError, match=rf"learner\.amp={kind}: Paddle does not compute in {kind} on cpu; .*device=gpu"
    ):
        learner(of={"amp": kind})


def test_weights_can_be_measured_where_they_could_not_be_trained(monkeypatch, as_on_gpu):
    trained, plain = scaled("adam"), learner("adam")
    train(trained, range(3))
    monkeypatch.undo()
    monkeypatch.setattr(Parts, "training", False)
    measuring = scaled("adam")
    measuring.load_state_dict(trained.state_dict())
    plain.load_state_dict(LearnerState(trained.state_dict().model, {}))
    np.testing.assert_array_equal(measuring.predict(batch(9)[0]), plain.predict(batch(9)[0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": {"amp": "float8"}}, r"learner\.amp='float8': must be none, bfloat16 or float16"),
        (
            {"of": {"amp": "bfloat16"}, "to_static": True},
            r"learner\.amp=bfloat16 goes with trainer\.to_static=false only",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        learner(**options)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float64", r"learner\.amp=float16 is for float32 weights, but conv\.weight is float64"),
        ("bfloat16", r"weight conv\.weight is bfloat16; learner=paddle keeps weights in float32 or float64"),
    ],
)
def test_weights_in_other_precision_are_refused(dtype, message, as_on_gpu):
    def model():
        net = Net()
        net.to(dtype=dtype)
        return net

    with pytest.raises(ConfigError, match=message):
        scaled(model=model)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.1},
        {"regularizer": L2(coefficient=0.5)},
        {"clip_norm": 0.1, "regularizer": L2(coefficient=0.5)},
    ],
    ids=["plain", "clipped", "regularized", "both"],
)
def test_the_scale_changes_no_bit_of_an_update(kind, options, as_on_gpu):
    # A power of two is exact; clipping and decay see the gradients scaled back.
    mixed, plain = learner("momentum", of={"amp": kind}, **options), learner("momentum", **options)
    assert train(mixed, range(4)) == train(plain, range(4))
    assert bits(mixed.state_dict())[0] == bits(plain.state_dict())[0]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_a_step_that_overflows_is_left_out_whole_and_the_scale_halved(name, options, as_on_gpu, overflow):
    trained = scaled(name, of={"ema": 0.9}, model=Steep, **options)
    train(trained, range(2))
    before, rate = trained.state_dict(), trained.learning_rate
    result = overflow(trained)
    assert result.skipped and np.isfinite(result.loss)
    now = trained.state_dict()
    assert (before.extra["scaler"]["scale"], now.extra["scaler"]["scale"]) == (65536.0, 32768.0)
    statistics = {"norm._mean", "norm._variance"}  # the forward run was sound
    for name_, array in before.model.items():
        assert name_ in statistics or np.array_equal(array, now.model[name_])
    assert bits(LearnerState({}, now.optimizer)) == bits(LearnerState({}, before.optimizer))
    assert now.extra["ema"] == before.extra["ema"]
    assert trained.learning_rate < rate  # the schedule counts the run's steps
    assert not trained.train_step(*batch(3)).skipped


def test_the_scale_doubles_after_two_thousand_good_steps(as_on_gpu):
    trained = scaled()
    state = trained.state_dict()
    assert state.extra["scaler"] == {"scale": 65536.0, "good_steps": 0}
    late = {**state.extra, "scaler": {"scale": 1024.0, "good_steps": 1998}}
    trained.load_state_dict(LearnerState(state.model, state.optimizer, late))
    found = []
    for number in range(3):
        train(trained, [number])
        found.append(trained.state_dict().extra["scaler"])
    assert found == [
        {"scale": 1024.0, "good_steps": 1999},
        {"scale": 2048.0, "good_steps": 0},
        {"scale": 2048.0, "good_steps": 1},
    ]


def test_an_overflow_at_a_scale_of_one_is_an_error_that_names_the_gradient(as_on_gpu, monkeypatch):
    trained = scaled(model=Steep)
    monkeypatch.setattr(Steep, "slope", 1e30)
    scales = []
    for number in range(16):
        assert trained.train_step(*batch(number)).skipped
        scales.append(trained.state_dict().extra["scaler"]["scale"])
    assert scales == [2.0**power for power in range(15, -1, -1)]
    before = bits(trained.state_dict())
    with pytest.raises(NotFiniteError, match=r"the gradient of conv\.weight, conv\.bias, .* is NaN or infinite"):
        trained.train_step(*batch(0))
    assert bits(trained.state_dict()) == before


def test_a_loss_that_is_not_finite_is_an_error_at_any_scale(as_on_gpu):
    trained = scaled()
    before = bits(trained.state_dict())
    inputs, targets = batch(0)
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        trained.train_step(np.full_like(inputs, np.nan), targets)
    assert bits(trained.state_dict()) == before
    assert not trained.train_step(inputs, targets).skipped


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_resumed_training_is_bit_identical_scale_included(tmp_path, kind, as_on_gpu, overflow):
    def fresh():
        return learner("adam", of={"amp": kind, "ema": 0.9}, model=Steep)

    def go_on(trained):
        losses = train(trained, range(3, 5))
        if kind == "float16":
            losses.append(overflow(trained, 5).loss)
        return losses + train(trained, range(6, 8))

    first = fresh()
    train(first, range(2))
    if kind == "float16":
        assert overflow(first, 2).skipped
    folder = CheckpointFolder(tmp_path)
    folder.save(Snapshot(first.state_dict(), {"epoch": 1, "step": 3}), best=True)
    wanted = go_on(first)
    second = fresh()
    train(second, range(20, 22))
    kept = folder.load("last").learner
    assert kept.extra.get("scaler") == ({"scale": 32768.0, "good_steps": 0} if kind == "float16" else None)
    second.load_state_dict(kept)
    assert go_on(second) == wanted
    assert bits(second.state_dict()) == bits(first.state_dict())


def test_the_kept_scale_is_plain(as_on_gpu):
    extra = dict(scaled().state_dict().extra)
    assert json.loads(json.dumps(extra)) == extra


def test_a_state_without_scale_is_refused(as_on_gpu):
    plain = learner("sgd")
    with pytest.raises(ConfigError, match=r"no scale of the loss, which learner\.amp=float16 goes on with"):
        scaled("sgd").load_state_dict(plain.state_dict())


def test_a_sparse_gradient_is_refused_by_name():
    words = nn.Sequential(("words", nn.Embedding(5, 2, sparse=True)))
    scaling = _amp.Scaled()
    scaling.backward(words(paddle.to_tensor([1, 2])).sum())
    with pytest.raises(ConfigError, match=r"the gradient of words\.weight is sparse .* set learner\.amp=bfloat16"):
        scaling.settle(words)
