import importlib
import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


DECAYING = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adadelta", "adamax", "nadam", "radam", "asgd", "rprop"]
DECOUPLED = ["adamw", "lamb"]
NAMES = DECAYING + DECOUPLED
START, GRADIENT = np.array([1.0, -2.0]), np.array([3.0, 4.0])


def optimizer(name, parameters, **options):
    return getattr(importlib.import_module(f"expkit_optimizers.{name}"), name)(parameters, **options)


def after(name, steps=1, *, regularizer=None, gradient=GRADIENT, **options):
    """Weights [1, -2] after some steps along the constant gradient [3, 4], whose norm is 5."""
    return along(name, [gradient] * steps, regularizer=regularizer, **options)


def along(name, gradients, *, regularizer=None, **options):
    """Weights [1, -2] after a step along each gradient."""
    import paddle

    layer = paddle.nn.Linear(2, 1, bias_attr=False)
    layer.weight.set_value(START[:, None].astype(np.float32))
    layer.weight.regularizer = regularizer
    made = optimizer(name, layer.parameters(), **options)
    for gradient in gradients:
        layer(paddle.to_tensor(np.array([gradient], np.float32))).sum().backward()
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


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_amsgrad_remembers_the_largest_mean_of_squares(name):
    # With beta1 = 0 the step is rate * g / sqrt(v / (1 - beta2^t)). The means of squares of 2, 1 and beta2 = 0.5 are
    # 2, 1.5: AMSGrad keeps the 2.
    def second_step(amsgrad):
        options = {"learning_rate": 0.1, "beta1": 0.0, "beta2": 0.5, "amsgrad": amsgrad}
        if name == "adamw":
            options["weight_decay"] = 0.0
        return along(name, [[2, 2]], **options) - along(name, [[2, 2], [1, 1]], **options)

    np.testing.assert_allclose(second_step(True), 0.1 / (2 / 0.75) ** 0.5, rtol=1e-4)
    np.testing.assert_allclose(second_step(False), 0.1 / (1.5 / 0.75) ** 0.5, rtol=1e-4)


def test_adadelta_steps():
    # Mean squares 0.1 g^2 and 0.19 g^2; the second step is measured by the first, kept to a tenth.
    first = GRADIENT * (1e-6 / (0.1 * GRADIENT**2 + 1e-6)) ** 0.5
    second = GRADIENT * ((0.1 * first**2 + 1e-6) / (0.19 * GRADIENT**2 + 1e-6)) ** 0.5
    weights = after("adadelta", 2, learning_rate=2.0, rho=0.9)
    np.testing.assert_allclose(weights, START - 2 * (first + second), rtol=1e-6)


def test_adamax_divides_by_the_largest_gradient():
    # Largest gradients 4 and max(0.5 * 4, 1); means 0.5 * 4 and 0.5 * 2 + 0.5 * 1, corrected by 0.5 and 0.75.
    weights = along("adamax", [[4, 4], [1, 1]], learning_rate=0.1, beta1=0.5, beta2=0.5)
    np.testing.assert_allclose(weights, START - 0.1 * (4 / 4 + 1.5 / 0.75 / 2), rtol=1e-5)


def test_nadam_looks_ahead():
    # Without the slow rise of beta1 (0.96^0 = 1), that of every step is 0.9 / 2: the step mixes the coming mean,
    # 0.45 * 0.1 g / (1 - 0.45^2), and the gradient, 0.55 g / 0.55.
    weights = after("nadam", learning_rate=0.1, momentum_decay=0.0)
    np.testing.assert_allclose(weights, START - 0.1 * (0.045 / (1 - 0.45**2) + 1), rtol=1e-5)


def test_radam_starts_as_momentum_and_then_rectifies():
    # With a constant gradient the corrected means are g and g^2. Up to step 5 the length of the average is at most 5,
    # so that steps are rate * g; that of step 6 is rate * rectification * g / |g|.
    np.testing.assert_allclose(after("radam", 5, learning_rate=0.1), START - 5 * 0.1 * GRADIENT, rtol=1e-5)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * 6 * 0.999**6 / (1 - 0.999**6)
    assert length > 5 > longest - 2 * 5 * 0.999**5 / (1 - 0.999**5)
    factor = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    sixth = after("radam", 5, learning_rate=0.1) - after("radam", 6, learning_rate=0.1)
    np.testing.assert_allclose(sixth, 0.1 * factor**0.5, rtol=1e-3)


def test_lamb_steps_are_measured_by_the_norm_of_the_weights():
    # Adam's step is [1, 1]; with decay [1 + 0.5, 1 - 0.5 * 2], of norm sqrt(3.25) where the weights have sqrt(5).
    direction = 1 + 0.5 * START
    weights = after("lamb", learning_rate=0.1, weight_decay=0.5)
    np.testing.assert_allclose(weights, START - 0.1 * 5**0.5 / np.hypot(*direction) * direction, rtol=1e-5)


def test_lamb_without_decay_is_adam_unless_it_always_adapts():
    np.testing.assert_allclose(after("lamb", learning_rate=0.1, weight_decay=0.0), START - 0.1, rtol=1e-5)
    weights = after("lamb", learning_rate=0.1, weight_decay=0.0, always_adapt=True)
    np.testing.assert_allclose(weights, START - 0.1 * (5 / 2) ** 0.5, rtol=1e-5)


def test_asgd_steps_along_the_mean_of_the_last_gradients():
    # Means over two: 3; (3 + 1) / 2; (1 + 0) / 2, the 3 is forgotten.
    weights = along("asgd", [[3, 3], [1, 1], [0, 0]], learning_rate=0.1, batches=2)
    np.testing.assert_allclose(weights, START - 0.1 * (3 + 2 + 0.5), rtol=1e-5)


def test_rprop_steps_have_rates_of_their_own():
    # The first weight's gradient keeps its sign: 0.1, 0.2, 0.4. The second's turns: 0.1, then it waits, then the
    # rate that shrank to a quarter.
    weights = along("rprop", [[3, 4], [1, -4], [2, -1]], learning_rate=0.1, grow=2.0, shrink=0.25)
    np.testing.assert_allclose(weights, START + np.array([-0.1 - 0.2 - 0.4, -0.1 + 0.025]), rtol=1e-5)


def test_rprop_rates_stay_in_their_range():
    weights = after("rprop", 3, learning_rate=0.1, grow=2.0, max_rate=0.15)
    np.testing.assert_allclose(weights, START - 0.1 - 0.15 - 0.15, rtol=1e-5)


def test_rprop_refuses_a_schedule():
    import paddle

    with pytest.raises(ConfigError, match=r"optimizer=rprop adapts a rate for each weight.*schedule=constant"):
        after("rprop", learning_rate=paddle.optimizer.lr.StepDecay(0.1, step_size=1))


@pytest.mark.parametrize(("decay", "pull"), [("l2", 0.5 * START), ("l1", 0.5 * np.sign(START))])
def test_weight_decay_by_hand(decay, pull):
    weights = after("sgd", learning_rate=0.1, weight_decay=0.5, decay=decay)
    np.testing.assert_allclose(weights, START - 0.1 * (GRADIENT + pull), rtol=1e-6)
    weights = after("momentum", 1, learning_rate=0.1, weight_decay=0.5, decay=decay)
    np.testing.assert_allclose(weights, START - 0.1 * (GRADIENT + pull), rtol=1e-6)


@pytest.mark.parametrize("name", DECAYING)
@pytest.mark.parametrize("decay", ["l1", "l2"])
def test_weight_decay_moves_weights_without_a_gradient(name, decay):
    import paddle

    kind = {"l1": paddle.regularizer.L1Decay, "l2": paddle.regularizer.L2Decay}[decay]
    nothing = np.zeros(2)
    np.testing.assert_array_equal(after(name, gradient=nothing), START)
    by_optimizer = after(name, 3, gradient=nothing, weight_decay=0.5, decay=decay)
    assert (np.abs(by_optimizer) < np.abs(START)).all()
    by_parameter = after(name, 3, gradient=nothing, regularizer=kind(0.5))
    np.testing.assert_array_equal(by_optimizer, by_parameter)


@pytest.mark.parametrize("name", DECAYING)
def test_a_regularizer_takes_the_place_of_weight_decay(name):
    import paddle

    layer = paddle.nn.Linear(1, 1)
    for parameter in layer.parameters():
        parameter.set_value(np.full(parameter.shape, 2.0, np.float32))
    layer.bias.regularizer = paddle.regularizer.L2Decay(0.0)
    made = optimizer(name, layer.parameters(), weight_decay=0.5)
    (layer(paddle.zeros([1, 1])) * 0).sum().backward()
    made.step()
    assert layer.weight.item() < 2.0
    assert layer.bias.item() == 2.0


@pytest.mark.parametrize("name", DECAYING)
def test_weight_decay_that_would_do_nothing_is_refused(name):
    import paddle

    with pytest.raises(
        ConfigError, match=r"weight_decay=0\.1 would do nothing: each of the 1 parameters .*regularizer=none"
    ):
        after(name, weight_decay=0.1, regularizer=paddle.regularizer.L1Decay(0.1))


def test_unknown_decay_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer\.decay='L1': must be l1 or l2"):
        after("sgd", decay="L1")


def test_adamw_decays_apart_from_the_gradient():
    # Weights shrink by rate * weight_decay, then comes Adam's step.
    np.testing.assert_allclose(
        after("adamw", learning_rate=0.1, weight_decay=0.5), START * (1 - 0.1 * 0.5) - 0.1, rtol=1e-5
    )


@pytest.mark.parametrize("fused", [True, False])
def test_adam_feels_a_regularizer_of_one_parameter(fused):
    import paddle

    # L2 turns the second gradient, 4 - 3 * 2, negative: the step goes the other way.
    weights = after("adam", learning_rate=0.1, fused=fused, regularizer=paddle.regularizer.L2Decay(3.0))
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

    weights = after("sgd", learning_rate=0.1, clip_norm=1.0, regularizer=paddle.regularizer.L2Decay(0.5))
    np.testing.assert_allclose(weights, START - 0.1 * (GRADIENT / 5 + 0.5 * START), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rprop"])
def test_schedule_takes_the_place_of_the_rate(name):
    import paddle

    layer = paddle.nn.Linear(2, 1)
    schedule = paddle.optimizer.lr.StepDecay(0.4, step_size=1, gamma=0.5)
    made = optimizer(name, layer.parameters(), learning_rate=schedule)
    assert made.get_lr() == 0.4
    schedule.step()
    assert made.get_lr() == 0.2


@pytest.mark.parametrize("name", DECOUPLED)
def test_decoupled_decay_refuses_a_regularizer_and_says_what_to_do(name):
    import paddle

    with pytest.raises(
        ConfigError, match=r"1 of 1 parameters have one.*regularizer=none.*weight_decay.*optimizer=adam"
    ):
        after(name, regularizer=paddle.regularizer.L2Decay(0.1))


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
        *((name, "weight_decay", -0.1) for name in NAMES),
        ("adadelta", "rho", 1.0),
        ("adadelta", "epsilon", 0.0),
        ("adamax", "beta1", 1.0),
        ("nadam", "beta2", 1.0),
        ("nadam", "momentum_decay", -0.1),
        ("radam", "epsilon", 0.0),
        ("lamb", "beta1", -0.1),
        ("lamb", "epsilon", 0.0),
        ("asgd", "batches", 0),
        ("rprop", "learning_rate", 51.0),
        ("rprop", "learning_rate", 1e-6),
        ("rprop", "min_rate", 0.0),
        ("rprop", "max_rate", -1.0),
        ("rprop", "shrink", 1.0),
        ("rprop", "grow", 1.0),
    ],
)
def test_option_out_of_range_is_refused(name, option, value):
    with pytest.raises(ConfigError, match=rf"optimizer\.{option}={value}: must be"):
        after(name, **{option: value})


@pytest.mark.parametrize("name", NAMES)
def test_model_without_parameters_is_refused(name):
    with pytest.raises(ConfigError, match="nothing to train"):
        optimizer(name, [])
