"""A model and its loss agree on what the outputs are, or the learner says so before training."""

import dataclasses

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit.api import ConfigError, Values
from expkit.testing import example_batch, example_specs
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.bce import BinaryCrossEntropy
from expkit_losses.cross_entropy import CrossEntropy
from expkit_losses.nll import NegativeLogLikelihood
from expkit_losses.squared_error import SquaredError
from expkit_models.linear import Linear
from expkit_models.mlp import MLP
from expkit_regularizers.none import NoRegularizer

DIGITS, _, TABLE = example_specs()
SHARES = dataclasses.replace(TABLE, name="shares", target=Values(("a", "b"), mean=(0.0, 0.0), scale=(1.0, 1.0)))


class Parts:
    """What a learner asks for."""

    epochs, steps_per_epoch, seed, device, tune, to_static = 1, 5, 0, "cpu", True, False
    team, engine = None, "paddle"

    def __init__(self, spec, model, loss):
        self.spec, self.model, self.loss = spec, model, loss

    def regularizer(self):
        return NoRegularizer()

    def optimizer(self, parameters):
        return paddle.optimizer.SGD(0.1, parameters=parameters)


def learner(model, loss, *, spec=DIGITS, output="logits", **options):
    paddle.seed(0)
    return PaddleLearner(Parts(spec, lambda: model(spec, output=output), lambda: loss(spec, **options)))


def losses(trained):
    batch = example_batch(DIGITS)
    inputs = DIGITS.input.normalise(batch.inputs)
    return [trained.train_step(inputs, batch.targets).loss for _ in range(5)]


@pytest.mark.parametrize(
    ("output", "loss", "options"),
    [
        ("softmax", CrossEntropy, {"from_probabilities": True}),
        ("log_softmax", NegativeLogLikelihood, {}),
        ("log_softmax", CrossEntropy, {}),  # the softmax of log-probabilities changes nothing
    ],
)
def test_softmax_in_the_network_or_in_the_loss_is_the_same_training(output, loss, options):
    wanted = losses(learner(Linear, CrossEntropy))
    assert wanted[-1] < wanted[0]
    assert losses(learner(Linear, loss, output=output, **options)) == pytest.approx(wanted, rel=1e-4)


def test_sigmoid_in_the_network_or_in_the_loss_is_the_same_training():
    wanted = losses(learner(Linear, BinaryCrossEntropy))
    assert wanted[-1] < wanted[0]
    found = losses(learner(Linear, BinaryCrossEntropy, output="sigmoid", from_probabilities=True))
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("output", "loss", "options", "message"),
    [
        (
            "softmax",
            CrossEntropy,
            {},
            r"model MLP answers probabilities, but loss CrossEntropy takes its outputs for logits\. Leave .*"
            r"\(model\.output=logits\), or tell the loss of it \(loss\.from_probabilities=true\)",
        ),
        ("sigmoid", BinaryCrossEntropy, {}, r"takes its outputs for independent logits\. .*model\.output=logits"),
        ("log_softmax", BinaryCrossEntropy, {}, "answers log-probabilities, but .* independent logits"),
        (
            "logits",
            CrossEntropy,
            {"from_probabilities": True},
            r"answers logits, .* for probabilities\. .*model\.output=softmax.*loss\.from_probabilities=false",
        ),
        ("log_softmax", CrossEntropy, {"from_probabilities": True}, "answers log-probabilities, .* for probabilities"),
        (
            "logits",
            NegativeLogLikelihood,
            {},
            r"for log-probabilities\. .*model\.output=log_softmax.*loss=cross_entropy",
        ),
        ("softmax", NegativeLogLikelihood, {}, "answers probabilities, .* for log-probabilities"),
    ],
)
def test_outputs_that_the_loss_takes_for_something_else_are_refused(output, loss, options, message):
    with pytest.raises(ConfigError, match=message):
        learner(MLP, loss, output=output, **options)


def test_shares_need_a_model_that_answers_shares():
    learner(MLP, BinaryCrossEntropy, spec=SHARES, output="sigmoid", from_probabilities=True)
    with pytest.raises(ConfigError, match="answers logits, but loss BinaryCrossEntropy takes its outputs for prob"):
        learner(MLP, BinaryCrossEntropy, spec=SHARES, from_probabilities=True)


def test_numbers_to_predict_are_no_scores():
    learner(MLP, SquaredError, spec=TABLE)
    learner(MLP, SquaredError, spec=SHARES, output="sigmoid")


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (nn.Softmax(), "model Sequential answers probabilities, but loss CrossEntropy takes its outputs for logits"),
        (nn.LogSoftmax(), None),
        (nn.Sigmoid(), None),  # its outputs could be logits
        (nn.Identity(), None),
    ],
)
def test_a_softmax_is_seen_in_a_model_that_does_not_say_what_it_answers(last, message):
    def model(spec, output):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), last)

    if message is None:
        learner(model, CrossEntropy)
        return
    with pytest.raises(ConfigError, match=message):
        learner(model, CrossEntropy)
    learner(model, CrossEntropy, from_probabilities=True)


def test_a_layer_that_is_called_scores_says_nothing_of_the_outputs():
    class Attention(nn.Layer):
        def __init__(self, spec, output):
            super().__init__()
            self.scores = nn.Linear(784, 10)

        def forward(self, x):
            return self.scores(x.flatten(1))

    assert np.isfinite(losses(learner(Attention, CrossEntropy))).all()
