import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


WEIGHTS = np.array([[1.0], [-2.0]], dtype=np.float32)
GRADIENT = np.array([[3.0], [5.0]], dtype=np.float32)


def regularizer(name, **options):
    from expkit_regularizers.l1 import L1
    from expkit_regularizers.l2 import L2
    from expkit_regularizers.none import NoRegularizer

    return {"none": NoRegularizer, "l1": L1, "l2": L2}[name](**options)


def after_one_sgd_step(decay):
    """Weights [1, -2] after a step of 0.1 along the gradient [3, 5]."""
    import paddle

    from expkit_optimizers.sgd import sgd

    layer = paddle.nn.Linear(2, 1, bias_attr=False)
    layer.weight.set_value(WEIGHTS)
    layer.weight.regularizer = decay
    optimizer = sgd(layer.parameters(), learning_rate=0.1)
    layer(paddle.to_tensor(GRADIENT.T)).sum().backward()
    optimizer.step()
    return layer.weight.numpy()


def test_l2_adds_coefficient_times_weight_to_the_gradient():
    decay = regularizer("l2", coefficient=0.5).decay("head.weight", (2, 1))
    np.testing.assert_allclose(after_one_sgd_step(decay), WEIGHTS - 0.1 * (GRADIENT + 0.5 * WEIGHTS), rtol=1e-6)


def test_l1_adds_coefficient_times_sign_to_the_gradient():
    decay = regularizer("l1", coefficient=0.5).decay("head.weight", (2, 1))
    expected = WEIGHTS - 0.1 * (GRADIENT + 0.5 * np.sign(WEIGHTS))
    np.testing.assert_allclose(after_one_sgd_step(decay), expected, rtol=1e-6)


def test_none_leaves_the_gradient_alone():
    decay = regularizer("none").decay("head.weight", (2, 1))
    np.testing.assert_allclose(after_one_sgd_step(decay), WEIGHTS - 0.1 * GRADIENT, rtol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize(
    ("pattern", "selected"),
    [
        ("*", {"conv1.weight", "conv1.bias", "head.weight"}),
        ("*.weight", {"conv1.weight", "head.weight"}),
        ("conv*.weight, head.*", {"conv1.weight", "head.weight"}),
        ("conv1.bias", {"conv1.bias"}),
        ("CONV*", set()),
    ],
)
def test_pattern_selects_parameters_by_name(name, pattern, selected):
    made = regularizer(name, pattern=pattern)
    names = ("conv1.weight", "conv1.bias", "head.weight")
    assert {n for n in names if made.decay(n, (1,)) is not None} == selected


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_coefficient_of_zero_switches_it_off(name):
    assert regularizer(name, coefficient=0.0).decay("head.weight", (2, 1)) is None


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("coefficient", [-1e-4, float("nan"), float("inf")])
def test_coefficient_out_of_range_is_refused(name, coefficient):
    with pytest.raises(ConfigError, match=r"regularizer\.coefficient=\S+: must be 0 or a number above 0"):
        regularizer(name, coefficient=coefficient)


def test_empty_pattern_is_refused():
    with pytest.raises(ConfigError, match=r"regularizer\.pattern=' , ' selects nothing"):
        regularizer("l2", pattern=" , ")
