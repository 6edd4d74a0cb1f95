import dataclasses
import importlib
import math
import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import Classes, ConfigError, DataSource, DataSpec, Values
from expkit.testing import example_specs

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


DIGITS, COLOURS, TABLE = example_specs()
SINGLE = DataSpec("one class", DIGITS.input, Classes(("price",)), DataSource("generated", "here"), "0" * 64)
PAIR = dataclasses.replace(DIGITS, name="pair", target=Classes(("no", "yes")))
SHARES = dataclasses.replace(TABLE, name="shares", target=Values(("a", "b"), mean=(0.0, 0.0), scale=(1.0, 1.0)))
ATTRIBUTES = {
    "cross_entropy": "CrossEntropy",
    "nll": "NegativeLogLikelihood",
    "bce": "BinaryCrossEntropy",
    "squared_error": "SquaredError",
    "absolute_error": "AbsoluteError",
    "huber": "Huber",
}


def tensor(values, dtype="float32", **options):
    import paddle

    return paddle.to_tensor(values, dtype=dtype, **options)


def loss(name, spec, **options):
    return getattr(importlib.import_module(f"expkit_losses.{name}"), ATTRIBUTES[name])(spec, **options)


def cross_entropy(spec, **options):
    return loss("cross_entropy", spec, **options)


def log(*probabilities):
    return [math.log(p) for p in probabilities]


def test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes():
    value = cross_entropy(COLOURS)(tensor([[0.0] * 5, [7.0] * 5]), tensor([0, 4], "int64"))
    assert value.shape == []
    assert float(value) == pytest.approx(math.log(5))


def test_cross_entropy_is_the_mean_over_the_batch():
    # softmax of (ln 6, 0, 0, 0, 0) is 6/10 and 1/10 each.
    logits = tensor([[math.log(6), 0, 0, 0, 0]] * 2)
    value = cross_entropy(COLOURS)(logits, tensor([0, 1], "int64"))
    assert float(value) == pytest.approx((-math.log(0.6) - math.log(0.1)) / 2, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_that_of_paddle_to_the_last_bit(soft, dtype):
    import paddle

    paddle.seed(0)
    targets = paddle.nn.functional.softmax(paddle.randn([64, 5], dtype)) if soft else paddle.randint(0, 5, [64])
    found = []
    for compute in (cross_entropy(COLOURS), lambda *both: paddle.nn.functional.cross_entropy(*both, soft_label=soft)):
        paddle.seed(1)
        outputs = 9 * paddle.randn([64, 5], dtype)
        outputs.stop_gradient = False
        value = compute(outputs, targets)
        value.backward()
        found.append((value.shape, value.numpy().tobytes(), outputs.grad.numpy().tobytes()))
    assert found[0] == found[1]


def test_label_smoothing_spreads_its_share_over_all_classes():
    logits = tensor([[math.log(6), 0, 0, 0, 0]])
    value = cross_entropy(COLOURS, label_smoothing=0.5)(logits, tensor([0], "int64"))
    # Target 0.5 + 0.5 / 5 for class 0, 0.5 / 5 for the four others.
    assert float(value) == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.1), rel=1e-6)


def test_cross_entropy_refuses_values():
    with pytest.raises(ConfigError, match=r"targets of example table are numbers\. Choose loss=squared_error"):
        cross_entropy(TABLE)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ConfigError, match=r"loss\.label_smoothing=\S+: must be from 0 to below 1"):
        cross_entropy(COLOURS, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("outputs", "targets"), [([2, 4], [2]), ([2, 5], [1]), ([2, 5], [2, 1]), ([5], [1]), ([2, 5], [])]
)
def test_cross_entropy_refuses_other_shapes(outputs, targets):
    import paddle

    with pytest.raises(ConfigError, match=r"needs logits \[N, 5\] and classes \[N\]"):
        cross_entropy(COLOURS)(paddle.zeros(outputs), paddle.zeros(targets, dtype="int64"))


@pytest.mark.parametrize(
    ("options", "outputs"),
    [({}, log(6, 1, 1, 1, 1)), ({"from_probabilities": True}, [0.6, 0.1, 0.1, 0.1, 0.1])],
    ids=["logits", "probabilities"],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_soft_labels_weigh_the_log_probabilities(options, outputs, smoothing):
    targets = tensor([[0.75, 0.25, 0, 0, 0]])
    value = cross_entropy(COLOURS, label_smoothing=smoothing, **options)(tensor([outputs]), targets)
    # Smoothed by 0.5: half of 0.75, and a tenth, on class 0.
    first = 0.75 if not smoothing else 0.75 / 2 + 0.1
    assert value.shape == []
    assert float(value) == pytest.approx(-first * math.log(0.6) - (1 - first) * math.log(0.1), rel=1e-6)


def test_cross_entropy_of_probabilities_is_that_of_their_logits():
    import paddle

    logits, classes = tensor(np.random.default_rng(0).normal(size=(7, 5))), tensor([0, 1, 2, 3, 4, 0, 1], "int64")
    probabilities = paddle.nn.functional.softmax(logits)
    for options in ({}, {"label_smoothing": 0.2}, {"class_weights": [1.0, 2.0, 3.0, 4.0, 5.0]}):
        wanted = float(cross_entropy(COLOURS, **options)(logits, classes))
        found = cross_entropy(COLOURS, from_probabilities=True, **options)(probabilities, classes)
        assert float(found) == pytest.approx(wanted, rel=1e-5)
        if "label_smoothing" not in options:
            assert float(loss("nll", COLOURS, **options)(probabilities.log(), classes)) == pytest.approx(
                wanted, rel=1e-5
            )


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_a_class_weight_counts_as_so_many_samples(name):
    outputs, classes = tensor([log(0.25, 0.75)] * 2), tensor([0, 1], "int64")
    value = loss(name, PAIR, class_weights=[3.0, 1.0])(outputs, classes)
    assert float(value) == pytest.approx(-(3 * math.log(0.25) + math.log(0.75)) / 4, rel=1e-6)
    shares = tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(loss(name, PAIR, class_weights=[3.0, 1.0])(outputs, shares)) == pytest.approx(float(value), rel=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("inf")], [1.0, -1.0], []])
@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_class_weights_that_do_not_fit_are_refused(name, weights):
    message = r"loss\.class_weights=\[.*\]: give 2 numbers above 0, one for each class of pair .*\(no, yes\)"
    with pytest.raises(ConfigError, match=message):
        loss(name, PAIR, class_weights=weights)


@pytest.mark.parametrize("targets", [[0], [[1.0, 0.0]], [[0.5, 0.5]]])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weights": [1.0, 2.0]}])
def test_a_probability_of_zero_has_a_finite_loss_and_slope(options, targets):
    outputs = tensor([[0.0, 1.0]], stop_gradient=False)
    value = cross_entropy(PAIR, from_probabilities=True, **options)(
        outputs, tensor(targets, "int64" if targets == [0] else "float32")
    )
    value.backward()
    assert math.isfinite(float(value))
    assert float(value) > 20
    assert np.isfinite(outputs.grad.numpy()).all()


def test_a_softmax_that_is_all_but_zero_still_learns():
    import paddle

    logits = tensor([[0.0, 50.0]], stop_gradient=False)
    cross_entropy(PAIR, from_probabilities=True)(paddle.nn.functional.softmax(logits), tensor([0], "int64")).backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[-1.0, 1.0]], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "outputs", "message"),
    [
        (
            "cross_entropy",
            {"from_probabilities": True},
            [[2.0, -1.0]],
            r"are from -1 to 2 and sum to 1 to 1\. Set model\.output=softmax, or loss\.from_probabilities=false",
        ),
        ("cross_entropy", {"from_probabilities": True}, [[0.5, 0.9]], "sum to 1.4 to 1.4"),
        (
            "nll",
            {},
            [[0.0, 0.0]],
            r"exponentials of .* sum to 2 to 2 .*\. Set model\.output=log_softmax, or choose loss=cross",
        ),
        (
            "bce",
            {"from_probabilities": True},
            [[1.5, 0.5]],
            r"outputs are from 0\.5 to 1\.5\. Set model\.output=sigmoid, or loss\.from_probabilities=false",
        ),
    ],
)
def test_outputs_that_are_no_probabilities_are_refused(name, options, outputs, message):
    with pytest.raises(ConfigError, match=message):
        loss(name, PAIR, **options)(tensor(outputs), tensor([1], "int64"))


def test_nll_is_minus_the_log_probability_of_the_target():
    outputs = tensor([log(0.25, 0.75)] * 2)
    assert float(loss("nll", PAIR)(outputs, tensor([0, 1], "int64"))) == pytest.approx(-math.log(0.25 * 0.75) / 2)
    soft = loss("nll", PAIR)(outputs[:1], tensor([[0.5, 0.5]]))
    assert float(soft) == pytest.approx(-math.log(0.25 * 0.75) / 2, rel=1e-6)


def test_nll_of_soft_labels_bears_a_log_probability_of_minus_infinity():
    outputs = tensor([[-math.inf, 0.0]], stop_gradient=False)
    value = loss("nll", PAIR)(outputs, tensor([[0.0, 1.0]]))
    value.backward()
    assert float(value) == 0
    assert np.isfinite(outputs.grad.numpy()).all()


def test_bce_asks_each_class_by_itself():
    # Logits ln 3 and -ln 4 are probabilities 3/4 and 1/5 of a yes.
    outputs = tensor([[math.log(3), -math.log(4)]])
    value = loss("bce", PAIR)(outputs, tensor([0], "int64"))
    assert float(value) == pytest.approx(-(math.log(3 / 4) + math.log(4 / 5)) / 2, rel=1e-6)
    soft = loss("bce", PAIR)(outputs, tensor([[0.5, 1.0]]))
    assert float(soft) == pytest.approx(-((math.log(3 / 4) + math.log(1 / 4)) / 2 + math.log(1 / 5)) / 2, rel=1e-6)
    given = loss("bce", PAIR, from_probabilities=True)(tensor([[3 / 4, 1 / 5]]), tensor([0], "int64"))
    assert float(given) == pytest.approx(float(value), rel=1e-6)


def test_bce_of_extreme_outputs_is_finite():
    import paddle

    assert float(loss("bce", PAIR)(tensor([[-200.0, 200.0]]), tensor([0], "int64"))) == 200
    outputs = tensor([[0.0, 1.0]], stop_gradient=False)
    value = loss("bce", PAIR, from_probabilities=True)(outputs, tensor([0], "int64"))
    value.backward()
    assert math.isfinite(float(value))
    assert bool(paddle.isfinite(outputs.grad).all())


def test_bce_learns_values_that_are_shares():
    value = loss("bce", SHARES, from_probabilities=True)(tensor([[0.5, 0.25]]), tensor([[0.5, 1.0]]))
    assert float(value) == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {}, r"needs shares from 0 to 1, but the values of example table are normalised: .*mean \[20.0\]"),
        (SHARES, {}, r"logits are none\. Set loss\.from_probabilities=true model\.output=sigmoid"),
        (SINGLE, {}, "loss=bce needs two classes or more"),
    ],
)
def test_bce_names_what_it_cannot_learn(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        loss("bce", spec, **options)


@pytest.mark.parametrize(
    ("spec", "options"), [(SHARES, {"from_probabilities": True}), (PAIR, {}), (PAIR, {"from_probabilities": True})]
)
def test_bce_refuses_targets_beyond_0_and_1(spec, options):
    with pytest.raises(ConfigError, match=r"needs targets from 0 to 1, but they are from 0 to 1\.5"):
        loss("bce", spec, **options)(tensor([[0.5, 0.5]]), tensor([[0.0, 1.5]]))


@pytest.mark.parametrize(
    ("name", "options", "scores"),
    [
        ("cross_entropy", {}, "logits"),
        ("cross_entropy", {"from_probabilities": True}, "probabilities"),
        ("nll", {}, "log_probabilities"),
        ("bce", {}, "sigmoid"),
        ("bce", {"from_probabilities": True}, "probabilities"),
    ],
)
def test_a_loss_says_what_it_takes_the_outputs_for(name, options, scores):
    assert loss(name, COLOURS, **options).scores == scores
    Classes(("a",), scores=scores)  # a word that decoding knows


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "bce"])
@pytest.mark.parametrize(
    ("outputs", "targets", "dtype"),
    [([2, 4], [2], "int64"), ([2, 5], [1], "int64"), ([2, 5], [2, 1], "float32"), ([2, 5], [2, 5], "int64")],
)
def test_losses_of_classes_never_broadcast(name, outputs, targets, dtype):
    import paddle

    with pytest.raises(ConfigError, match=rf"loss={name} needs \S+ \[N, 5\] and classes \[N\] or shares \[N, 5\]"):
        loss(name, COLOURS)(paddle.zeros(outputs), paddle.zeros(targets, dtype=dtype))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("squared_error", {}, (0.25 + 9) / 2),
        ("absolute_error", {}, (0.5 + 3) / 2),
        ("huber", {}, (0.125 + 2.5) / 2),  # 0.5 ** 2 / 2, and 3 - 1 / 2
        ("huber", {"delta": 2.0}, (0.125 + 4) / 2),  # 2 * (3 - 2 / 2)
        ("huber", {"delta": 100.0}, (0.125 + 4.5) / 2),  # half of the squared error
    ],
)
def test_errors_are_the_mean_over_batch_and_outputs(name, options, expected):
    value = loss(name, TABLE, **options)(tensor([[0.5], [-1.0]]), tensor([[0.0], [2.0]]))
    assert value.shape == []
    assert float(value) == pytest.approx(expected)
    pair = loss(name, SHARES, **options)(tensor([[0.5, -1.0]]), tensor([[0.0, 2.0]]))
    assert float(pair) == pytest.approx(expected)


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_smooth_l1_is_huber_divided_by_its_width(delta):
    import paddle

    outputs, targets = (tensor(np.random.default_rng(seed).normal(size=(50, 1), scale=3)) for seed in (0, 1))
    size = (outputs - targets).abs()
    smooth = paddle.where(size < delta, 0.5 * size**2 / delta, size - 0.5 * delta).mean()
    assert float(loss("huber", TABLE, delta=delta)(outputs, targets)) == pytest.approx(float(smooth) * delta, rel=1e-5)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan"), float("inf")])
def test_a_huber_loss_needs_a_width(delta):
    with pytest.raises(ConfigError, match=r"loss\.delta=\S+: must be a number above 0"):
        loss("huber", TABLE, delta=delta)


ERRORS = ["squared_error", "absolute_error", "huber"]


@pytest.mark.parametrize("name", ERRORS)
def test_errors_take_classes_as_numbers_with_a_single_output(name):
    right = loss(name, SINGLE)(tensor([[0.0], [4.0]]), tensor([0, 4], "int64"))
    assert float(right) == 0


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize(("outputs", "targets"), [([4, 1], [4]), ([4, 1], [1, 1]), ([4, 1], [4, 2]), ([4], [4])])
def test_errors_never_broadcast(name, outputs, targets):
    import paddle

    with pytest.raises(ConfigError, match=rf"loss={name} needs outputs and targets of one shape \[N, K\]"):
        loss(name, TABLE)(paddle.zeros(outputs), paddle.zeros(targets))


@pytest.mark.parametrize("name", ERRORS)
def test_errors_refuse_classes(name):
    with pytest.raises(ConfigError, match=rf"loss={name} .* are 10 classes\. Choose loss=cross_entropy"):
        loss(name, DIGITS)
