from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from expkit.api import ConfigError
from expkit.testing import check_learner

from plugin_name.sam import SharpnessAware


def parts():
    """Stand for the parts of a run: one weight that is 2, and the square of what it answers as loss."""
    line = paddle.nn.Linear(1, 1, bias_attr=False)
    line.weight.set_value(paddle.to_tensor([[2.0]]))
    return SimpleNamespace(
        to_static=False,
        model=lambda: line,
        loss=lambda: lambda outputs, targets: ((outputs - targets) ** 2).mean(),
        regularizer=lambda: SimpleNamespace(decay=lambda name, shape: None),
        optimizer=lambda parameters: paddle.optimizer.SGD(0.1, parameters=list(parameters)),
    )


def test_it_keeps_the_promises_of_a_learner():
    check_learner(SharpnessAware)


def test_a_step_takes_the_gradient_where_the_loss_is_higher():
    learner = SharpnessAware(parts(), radius=0.5)
    one = np.ones((1, 1), "float32")
    assert learner.train_step(one, 0 * one).loss == 4.0  # of the weight as it was
    assert learner.predict(one).item() == pytest.approx(2.0 - 0.1 * 2 * 2.5)


def test_a_radius_of_zero_is_refused():
    with pytest.raises(ConfigError, match="radius=0.0: must be a number above 0"):
        SharpnessAware(parts(), radius=0.0)
