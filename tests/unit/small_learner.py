"""A small network with all that has a state of its own, and what trains it."""

from __future__ import annotations

import importlib

import numpy as np
import paddle
from paddle import nn

from expkit.api import LearnerState
from expkit.testing import example_specs
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.cross_entropy import CrossEntropy
from expkit_regularizers.none import NoRegularizer
from expkit_schedules.polynomial import polynomial

SPEC = example_specs()[0]
OPTIMIZERS = [
    ("sgd", {}),
    ("momentum", {}),
    ("adam", {"fused": True}),
    ("adam", {"fused": False}),
    ("adamw", {}),
    ("rmsprop", {}),
    ("adagrad", {}),
    ("adam", {"amsgrad": True}),
    ("adadelta", {}),
    ("adamax", {}),
    ("nadam", {}),
    ("radam", {}),
    ("lamb", {}),
    ("asgd", {"batches": 3}),
]


class Net(nn.Layer):
    """A convolution, batch normalisation, dropout and pooling: all that has a state of its own."""

    def __init__(self, outputs=10, channels=3):
        super().__init__()
        self.conv = nn.Conv2D(1, channels, 5, stride=2)
        self.norm = nn.BatchNorm2D(channels)
        self.pool = nn.MaxPool2D(2)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(channels * 36, outputs)

    def forward(self, x):
        return self.head(self.drop(self.pool(self.norm(self.conv(x)))).flatten(1))


def falling():
    return polynomial(0.05, Parts.steps_per_epoch, Parts.epochs)


class Parts:
    """What a learner asks for."""

    spec, epochs, steps_per_epoch, seed, device, training = SPEC, 2, 5, 0, "cpu", True
    team, engine = None, "paddle"

    def __init__(
        self, optimizer="sgd", *, schedule=falling, model=Net, regularizer=None, tune=True, to_static=False, **options
    ):
        self.name, self.schedule, self.options = optimizer, schedule, options
        self.model, self.tune, self.to_static = model, tune, to_static
        self.given = regularizer or NoRegularizer()

    def loss(self):
        return CrossEntropy(self.spec)

    def regularizer(self):
        return self.given

    def optimizer(self, parameters):
        rate = self.schedule() if self.schedule else 0.05
        make = getattr(importlib.import_module(f"expkit_optimizers.{self.name}"), self.name)
        return make(parameters, learning_rate=rate, **self.options)


def learner(*arguments, of=None, **options):
    """Build a learner; `of` are its own options."""
    paddle.seed(0)
    return PaddleLearner(Parts(*arguments, **options), **(of or {}))


def batch(number, size=8):
    random = np.random.default_rng(number)
    return random.normal(size=(size, 1, 28, 28)).astype(np.float32), random.integers(0, 10, size)


def train(trained, numbers):
    losses = []
    for number in numbers:
        paddle.seed(number)  # dropout draws the same in each of two histories
        losses.append(trained.train_step(*batch(number)).loss)
    return losses


def bits(state: LearnerState):
    arrays = [*sorted(state.model.items()), *sorted(state.optimizer.items())]
    return [(name, array.tobytes()) for name, array in arrays], dict(state.extra)
