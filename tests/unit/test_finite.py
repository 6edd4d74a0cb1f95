"""The Paddle learner sees NaN and infinity before its update, and undoes what the forward run changed."""

from __future__ import annotations

import random

import numpy as np
import paddle
import pytest
from paddle import nn
from small_learner import Net, batch, bits, learner, train

from expkit.api import NotFiniteError
from expkit.seeding import StepRandom
from expkit_schedules.cosine import cosine
from expkit_schedules.exponential import exponential
from expkit_schedules.polynomial import polynomial


def spoiled(number=0, value=np.nan):
    inputs, targets = batch(number)
    inputs[3, 0, 5, 5] = value
    return inputs, targets


class Root(Net):
    """The square root has an infinite slope at 0, and relu makes zeros."""

    def forward(self, x):
        return super().forward(x) + nn.functional.relu(self.conv(x) - 100).sum(axis=[1, 2, 3]).sqrt().unsqueeze(1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_loss_that_is_not_finite_changes_nothing(name, value):
    trained = learner(name)
    train(trained, range(2))
    before, generator = bits(trained.state_dict()), paddle.get_rng_state()
    with pytest.raises(NotFiniteError, match=r"^the loss is nan\.$") as caught:
        trained.train_step(*spoiled(value=value))
    assert bits(trained.state_dict()) == before
    assert (caught.value.kind, caught.value.undone) == ("loss", True)
    assert trained.model.conv.weight.grad is None or not trained.model.conv.weight.grad.any()
    paddle.set_rng_state(generator)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_training_goes_on_as_if_the_batch_had_not_been_there(name):
    one, other = learner(name), learner(name)
    wanted = train(one, range(6))
    train(other, range(3))
    with pytest.raises(NotFiniteError):
        other.train_step(*spoiled())
    assert train(other, range(3, 6)) == wanted[3:]
    assert bits(one.state_dict()) == bits(other.state_dict())


def test_a_gradient_that_is_not_finite_is_named_and_changes_nothing():
    trained = learner(model=Root)
    before = bits(trained.state_dict())
    with pytest.raises(NotFiniteError, match=r"the gradient of conv\.weight, conv\.bias is NaN or infinite") as caught:
        trained.train_step(*batch(0))
    assert caught.value.kind == "gradient"
    assert bits(trained.state_dict()) == before


def test_a_gradient_whose_square_is_too_large_is_finite_all_the_same():
    class Steep(Net):
        def forward(self, x):
            return super().forward(x) * 1e-30 + self.head.bias * 1e20

    trained = learner(model=Steep, schedule=None)
    trained.scale_learning_rate(1e-30)
    trained.train_step(*batch(0))
    assert float(trained.model.head.bias.abs().max()) < 1e-5


def falls_by_polynomial():
    return polynomial(0.05, 5, 2)


def falls_by_cosine():
    return cosine(0.05, 5, 2)


def falls_by_exponential():
    return exponential(0.05, 5, 2)


@pytest.mark.parametrize("schedule", [None, falls_by_polynomial, falls_by_cosine, falls_by_exponential])
def test_all_rates_to_come_are_scaled_and_the_state_keeps_it(schedule):
    plain, scaled, later = (learner("momentum", schedule=schedule) for _ in range(3))
    scaled.scale_learning_rate(0.5)
    scaled.scale_learning_rate(0.5)
    for number in range(4):
        assert scaled.learning_rate == pytest.approx(plain.learning_rate / 4, rel=1e-12)
        train(plain, [number])
        train(scaled, [number])
    state = scaled.state_dict()
    assert state.extra["rate_factor"] == 0.25
    later.load_state_dict(state)
    assert later.learning_rate == scaled.learning_rate
    assert train(later, [4, 5]) == train(scaled, [4, 5])
    later.load_state_dict(plain.state_dict())
    assert later.learning_rate == plain.learning_rate


def test_a_scaled_rate_is_the_one_that_steps():
    one, other = learner(schedule=falls_by_polynomial), learner(schedule=falls_by_polynomial)
    start = one.state_dict().model["head.bias"]
    other.scale_learning_rate(0.5)
    train(one, [0])
    train(other, [0])
    moves = [each.state_dict().model["head.bias"] - start for each in (one, other)]
    assert np.allclose(moves[0], 2 * moves[1], rtol=1e-4)


def draws(function):
    """Note, draw, note, draw, put back what the last note said, and draw again: equal numbers when it was restored."""
    noted = StepRandom()
    noted.note()
    function()
    states = noted.note()
    first = function()
    StepRandom.put_back(states)
    return first, function()


@pytest.mark.parametrize(
    "function",
    [lambda: float(paddle.rand([1])[0]), lambda: np.random.rand(), lambda: random.random()],
)
def test_a_generator_that_steps_draw_from_is_put_back(function):
    first, again = draws(function)
    assert first == again


def test_generators_that_no_step_uses_cost_nothing():
    noted = StepRandom()
    assert None not in noted.note()
    assert noted.note()[1:] == (None, None)
