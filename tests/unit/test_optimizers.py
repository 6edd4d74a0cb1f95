import importlib
import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


NAMES = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"]
START, GRADIENT = np.array([1.0, -2.0]), np.array([3.0, 4.0])


def optimizer(name, parameters, **options):
    return getattr(importlib.import_module(f"expkit_optimizers.{name}"), name)(parameters, **options)


def after(name, steps=1, *, decay=None, **options):
    """Weights [1, -2] after some steps along the constant gradient [3, 4], whose norm is 5."""
    import paddle

    layer = paddle.nn.Linear(2, 1, bias_attr=False)
    layer.weight.set_value(START[:, None].astype(np.float32))
    layer.weight.regularizer = decay
    made = optimizer(name, layer.parameters(), **options)
    for _ in range(steps):
        layer(paddle.to_tensor(GRADIENT[None].astype(np.float32))).sum().backward()
        made.step()
        made.clear_grad()
    return layer.weight.numpy()[:, 0]


def test_sgd_step():
    np.testing.assert_allclose(after("sgd", 2, learning_rate=0.1), START - 2 * 0.1 * GRADIENT, rtol=1e-6)


def test_momentum_steps():
    # Velocities g and 0.5 g + g.
    np.testing.assert_allclose(
        after("momentum", 2, learning_rate=0.1, momentum=0.5), START - 0.1 * 2.5 * GRADIENT, rtol=1e-6
    )


def test_nesterov_step():
    # The step looks ahead: g + 0.5 v with v = g.
    np.testing.assert_allclose(
        after("momentum", learning_rate=0.1, momentum=0.5, nesterov=True),
        START - 0.1 * 1.5 * GRADIENT,
        rtol=1e-6,
    )


def test_adagrad_steps():
    # Sums of squares g^2 and 2 g^2: steps of rate and rate / sqrt(2), whatever the gradient's size.
    np.testing.assert_allclose(after("adagrad", 2, learning_rate=0.1), START - 0.1 * (1 + 0.5**0.5), rtol=1e-5)


def test_rmsprop_step():
    # Mean square 0.1 g^2: a step of rate / sqrt(0.1).
    np.testing.assert_allclose(after("rmsprop", learning_rate=0.1, rho=0.9), START - 0.1 / 0.1**0.5, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_adam_steps_have_the_size_of_the_rate(fused):
    # With a constant gradient both corrected means are exact: every step is rate * g / |g|.
    np.testing.assert_allclose(after("adam", 3, learning_rate=0.1, fused=fused), START - 3 * 0.1, rtol=1e-5)


def test_adamw_decays_apart_from_the_gradient():
    # Weights shrink by rate * weight_decay, then comes Adam's step.
    np.testing.assert_allclose(
        after("adamw", learning_rate=0.1, weight_decay=0.5), START * (1 - 0.1 * 0.5) - 0.1, rtol=1e-5
    )


@pytest.mark.parametrize("fused", [True, False])
def test_adam_feels_a_regularizer_of_one_parameter(fused):
    import paddle

    # L2 turns the second gradient, 4 - 3 * 2, negative: the step goes the other way.
    weights = after("adam", learning_rate=0.1, fused=fused, decay=paddle.regularizer.L2Decay(3.0))
    np.testing.assert_allclose(weights, START - 0.1 * np.array([1, -1]), rtol=1e-5)


def test_fused_adam_agrees_with_plain_adam_when_only_some_parameters_are_regularized():
    import paddle

    def trained(fused):
        paddle.seed(0)
        layers = paddle.nn.Sequential(paddle.nn.Linear(8, 16), paddle.nn.Tanh(), paddle.nn.Linear(16, 3))
        for name, parameter in layers.named_parameters():
            parameter.regularizer = paddle.regularizer.L2Decay(0.1) if name.endswith("weight") else None
        made = optimizer("adam", layers.parameters(), learning_rate=0.01, fused=fused)
        x = paddle.to_tensor(np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32))
        for _ in range(20):
            layers(x).square().mean().backward()
            made.step()
            made.clear_grad()
        return np.concatenate([p.numpy().ravel() for p in layers.parameters()])

    np.testing.assert_allclose(trained(True), trained(False), atol=1e-5)


def test_clipping_scales_the_gradient_to_the_norm():
    np.testing.assert_allclose(after("sgd", learning_rate=0.1, clip_norm=1.0), START - 0.1 * GRADIENT / 5, rtol=1e-5)
    np.testing.assert_allclose(after("sgd", learning_rate=0.1, clip_norm=9.0), START - 0.1 * GRADIENT, rtol=1e-5)


def test_clipping_comes_before_the_regularizer():
    import paddle

    weights = after("sgd", learning_rate=0.1, clip_norm=1.0, decay=paddle.regularizer.L2Decay(0.5))
    np.testing.assert_allclose(weights, START - 0.1 * (GRADIENT / 5 + 0.5 * START), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_schedule_takes_the_place_of_the_rate(name):
    import paddle

    layer = paddle.nn.Linear(2, 1)
    schedule = paddle.optimizer.lr.StepDecay(0.4, step_size=1, gamma=0.5)
    made = optimizer(name, layer.parameters(), learning_rate=schedule)
    assert made.get_lr() == 0.4
    schedule.step()
    assert made.get_lr() == 0.2


def test_adamw_refuses_a_regularizer_and_says_what_to_do():
    import paddle

    with pytest.raises(
        ConfigError, match=r"1 of 1 parameters have one.*regularizer=none.*weight_decay.*optimizer=adam"
    ):
        after("adamw", decay=paddle.regularizer.L2Decay(0.1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_rate_out_of_range_is_refused(name, rate):
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate=\S+: must be a number above 0"):
        after(name, learning_rate=rate)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        *((name, "clip_norm", 0.0) for name in NAMES),
        ("momentum", "momentum", 1.0),
        ("adagrad", "epsilon", 0.0),
        ("adagrad", "initial", -1.0),
        ("rmsprop", "rho", 1.0),
        ("rmsprop", "momentum", -0.1),
        ("adam", "beta1", 1.0),
        ("adam", "beta2", -0.1),
        ("adam", "epsilon", 0.0),
        ("adamw", "beta2", 1.0),
        ("adamw", "weight_decay", -0.1),
    ],
)
def test_option_out_of_range_is_refused(name, option, value):
    with pytest.raises(ConfigError, match=rf"optimizer\.{option}={value}: must be"):
        after(name, **{option: value})


@pytest.mark.parametrize("name", NAMES)
def test_model_without_parameters_is_refused(name):
    with pytest.raises(ConfigError, match="nothing to train"):
        optimizer(name, [])
