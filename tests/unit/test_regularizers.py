import importlib
import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


WEIGHTS = np.array([[1.0], [-2.0]], dtype=np.float32)
GRADIENT = np.array([[3.0], [5.0]], dtype=np.float32)


CLASSES = {"none": "NoRegularizer", "l1": "L1", "l2": "L2", "elastic_net": "ElasticNet", "per_pattern": "PerPattern"}
OPTIMIZERS = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adadelta", "adamax", "nadam", "radam", "asgd", "rprop"]


def regularizer(name, **options):
    return getattr(importlib.import_module(f"expkit_regularizers.{name}"), CLASSES[name])(**options)


def after_one_sgd_step(decay):
    """Weights [1, -2] after a step of 0.1 along the gradient [3, 5]."""
    return after_one_step("sgd", decay, GRADIENT)


def after_one_step(name, decay, gradient, **options):
    """Weights [1, -2] after a step of an optimizer with the rate 0.1."""
    import paddle

    layer = paddle.nn.Linear(2, 1, bias_attr=False)
    layer.weight.set_value(WEIGHTS)
    layer.weight.regularizer = decay
    make = getattr(importlib.import_module(f"expkit_optimizers.{name}"), name)
    optimizer = make(layer.parameters(), learning_rate=0.1, **options)
    layer(paddle.to_tensor(gradient.T)).sum().backward()
    optimizer.step()
    return layer.weight.numpy()


def test_l2_adds_coefficient_times_weight_to_the_gradient():
    decay = regularizer("l2", coefficient=0.5).decay("head.weight", (2, 1))
    np.testing.assert_allclose(after_one_sgd_step(decay), WEIGHTS - 0.1 * (GRADIENT + 0.5 * WEIGHTS), rtol=1e-6)


def test_l1_adds_coefficient_times_sign_to_the_gradient():
    decay = regularizer("l1", coefficient=0.5).decay("head.weight", (2, 1))
    expected = WEIGHTS - 0.1 * (GRADIENT + 0.5 * np.sign(WEIGHTS))
    np.testing.assert_allclose(after_one_sgd_step(decay), expected, rtol=1e-6)


def test_elastic_net_adds_both():
    decay = regularizer("elastic_net", l1=0.5, l2=0.25).decay("head.weight", (2, 1))
    expected = WEIGHTS - 0.1 * (GRADIENT + 0.5 * np.sign(WEIGHTS) + 0.25 * WEIGHTS)
    np.testing.assert_allclose(after_one_sgd_step(decay), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in OPTIMIZERS), ("adam", {"fused": False}), ("sgd", {"clip_norm": 9.0})]
)
def test_elastic_net_is_part_of_the_gradient_for_every_optimizer(name, options):
    # [1, -2] with l1 = l2 = 0.5: the decay is [1, -1.5], the same as a gradient.
    decay = regularizer("elastic_net", l1=0.5, l2=0.5).decay("head.weight", (2, 1))
    pull = np.array([[1.0], [-1.5]], dtype=np.float32)
    decayed = after_one_step(name, decay, np.zeros_like(pull), **options)
    np.testing.assert_array_equal(decayed, after_one_step(name, None, pull, **options))
    assert (np.abs(decayed) < np.abs(WEIGHTS)).all()


@pytest.mark.parametrize(
    ("l1", "l2", "text"),
    [
        (0.5, 0.0, "L1Decay, coeff=0.500000"),
        (0.0, 0.25, "L2Decay, coeff=0.250000"),
        (0.5, 0.25, "ElasticNetDecay, l1=0.500000, l2=0.250000"),
    ],
)
def test_elastic_net_of_one_coefficient_is_paddles_own(l1, l2, text):
    assert str(regularizer("elastic_net", l1=l1, l2=l2).decay("head.weight", (2, 1))) == text


def test_elastic_net_of_no_coefficient_is_off():
    made = regularizer("elastic_net", l1=0.0, l2=0.0)
    assert made.decay("head.weight", (2, 1)) is None
    assert made.pattern == ""


def test_per_pattern_takes_the_last_rule_that_fits_of_each_kind():
    made = regularizer("per_pattern", l2={"*": 0.1, "*.bias": 0.0, "head.*": 0.3}, l1={"conv1.weight": 0.2})
    told = {name: str(made.decay(name, (1,))) for name in ("conv1.weight", "conv1.bias", "head.bias", "conv2.weight")}
    assert told == {
        "conv1.weight": "ElasticNetDecay, l1=0.200000, l2=0.100000",
        "conv1.bias": "L2Decay, coeff=0.000000",
        "head.bias": "L2Decay, coeff=0.300000",
        "conv2.weight": "L2Decay, coeff=0.100000",
    }
    assert made.patterns == ["conv1.weight", "*", "*.bias", "head.*"]


def test_per_pattern_leaves_alone_what_no_rule_fits_and_exempts_what_a_rule_gives_0():
    made = regularizer("per_pattern", l1={"head.*": 0.2}, l2={"*.bias": 0.0})
    nothing = np.zeros_like(WEIGHTS)
    assert made.decay("conv1.weight", (1,)) is None
    exempt = made.decay("conv1.bias", (1,))
    with pytest.raises(ConfigError, match="would do nothing"):  # an optimizer's own decay does not reach it
        after_one_step("sgd", exempt, nothing, weight_decay=0.5)
    np.testing.assert_array_equal(after_one_step("sgd", exempt, nothing), WEIGHTS)
    assert str(made.decay("head.weight", (1,))) == "L1Decay, coeff=0.200000"


def test_per_pattern_without_rules_is_refused():
    with pytest.raises(ConfigError, match=r"regularizer=per_pattern has no rules\. Give some, .*regularizer=none"):
        regularizer("per_pattern")


def test_none_leaves_the_gradient_alone():
    decay = regularizer("none").decay("head.weight", (2, 1))
    np.testing.assert_allclose(after_one_sgd_step(decay), WEIGHTS - 0.1 * GRADIENT, rtol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l2", "elastic_net"])
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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("elastic_net", {"l1": -0.1}, r"regularizer\.l1=-0\.1: must be 0 or a number above 0"),
        ("elastic_net", {"l2": float("nan")}, r"regularizer\.l2=nan: must be"),
        ("per_pattern", {"l1": {"*.weight": -0.1}}, r"regularizer\.l1\['\*\.weight'\]=-0\.1: must be"),
        ("per_pattern", {"l2": {"*": float("inf")}}, r"regularizer\.l2\['\*'\]=inf: must be"),
    ],
)
def test_other_coefficient_out_of_range_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        regularizer(name, **options)


@pytest.mark.parametrize("name", ["l2", "elastic_net"])
def test_empty_pattern_is_refused(name):
    with pytest.raises(ConfigError, match=r"regularizer\.pattern=' , ' selects nothing"):
        regularizer(name, pattern=" , ")
