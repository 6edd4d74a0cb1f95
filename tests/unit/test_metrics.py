import dataclasses
import math

import numpy as np
import pytest

from expkit.api import Classes, ConfigError, Values
from expkit.testing import example_specs
from expkit_metrics.accuracy import Accuracy
from expkit_metrics.auc import AreaUnderROC
from expkit_metrics.mae import MeanAbsoluteError
from expkit_metrics.mse import MeanSquaredError
from expkit_metrics.precision import Precision
from expkit_metrics.r2 import RSquared
from expkit_metrics.rmse import RootMeanSquaredError
from expkit_metrics.rounded_accuracy import RoundedAccuracy

DIGITS, COLOURS, TABLE = example_specs()
SINGLE = dataclasses.replace(DIGITS, target=Classes(("price",)))
PAIR = dataclasses.replace(TABLE, target=Values(("a", "b"), mean=(0.0, 9.0), scale=(1.0, 10.0)))
LOGITS = np.array([[0.1, 0.5, 0.3, 0.0, 0.0], [0.9, 0.2, 0.8, 0.1, 0.0], [0.0, 0.1, 0.2, 0.3, 0.4]])


def measure(metric, *batches):
    for outputs, targets in batches:
        metric.update(np.asarray(outputs), np.asarray(targets))
    return metric.compute()


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1 / 3), (2, 2 / 3), (3, 2 / 3), (5, 1.0)])
def test_accuracy_counts_targets_among_the_first_choices(top_k, expected):
    assert measure(Accuracy(COLOURS, top_k=top_k), (LOGITS, [1, 2, 0])) == pytest.approx(expected)


def test_accuracy_weighs_samples_not_batches():
    assert measure(Accuracy(COLOURS), (LOGITS[:1], [1]), (LOGITS, [0, 1, 2])) == 1 / 4


@pytest.mark.parametrize("top_k", [1, 2])
def test_of_equal_logits_the_lower_class_comes_first(top_k):
    equal = np.zeros((5, 5))
    assert measure(Accuracy(COLOURS, top_k=top_k), (equal, np.arange(5))) == top_k / 5


@pytest.mark.parametrize("top_k", [0, 6])
def test_top_k_beyond_the_classes_is_refused(top_k):
    with pytest.raises(ConfigError, match=rf"top_k={top_k}: must be from 1 to 5"):
        Accuracy(COLOURS, top_k=top_k)


def test_accuracy_refuses_values():
    with pytest.raises(ConfigError, match="targets of example table are numbers"):
        Accuracy(TABLE)


@pytest.mark.parametrize("top_k", [1, 3])
def test_of_shares_the_largest_is_the_true_class(top_k):
    shares = np.array([[0.3, 0.7, 0, 0, 0], [0, 0.6, 0.4, 0, 0], [0.5, 0.5, 0, 0, 0]], np.float32)
    hard = measure(Accuracy(COLOURS, top_k=top_k), (LOGITS, [1, 1, 0]))
    assert measure(Accuracy(COLOURS, top_k=top_k), (LOGITS, shares)) == hard
    assert hard == pytest.approx({1: 1 / 3, 3: 2 / 3}[top_k])


@pytest.mark.parametrize("targets", [np.zeros(1, int), np.zeros((3, 1), int), np.zeros((3, 5), int), np.zeros((1, 5))])
def test_accuracy_never_broadcasts(targets):
    with pytest.raises(ConfigError, match=r"needs outputs \[N, K\] and classes \[N\] or shares \[N, K\]"):
        Accuracy(COLOURS).update(LOGITS, targets)


@pytest.mark.parametrize(("metric", "expected"), [(MeanSquaredError, (1 + 4 + 9) / 3), (MeanAbsoluteError, 2.0)])
def test_error_is_the_mean_over_all_samples(metric, expected):
    first, second = ([[1.0], [2.0]], [[0.0], [4.0]]), ([[3.0]], [[0.0]])
    assert measure(metric(TABLE), first, second) == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "expected"), [(MeanSquaredError, 25 * 2.5), (MeanAbsoluteError, 5 * 1.5)])
def test_error_in_the_targets_own_unit(metric, expected):
    # The table's value has a scale of 5.
    assert measure(metric(TABLE, own_unit=True), ([[1.0], [2.0]], [[0.0], [4.0]])) == pytest.approx(expected)


def test_own_unit_is_per_output():
    assert measure(MeanAbsoluteError(PAIR, own_unit=True), ([[1.0, 1.0]], [[0.0, 0.0]])) == 5.5


def test_root_of_the_mean_over_all_samples():
    batches = ([[1.0]], [[0.0]]), ([[3.0], [9.0]], [[-4.0], [4.0]])
    assert measure(RootMeanSquaredError(TABLE), *batches) == 5.0  # of (1 + 49 + 25) / 3
    assert measure(RootMeanSquaredError(TABLE, own_unit=True), *batches) == 25.0


def test_r2_compares_with_the_mean_of_the_targets():
    # Squared distances to the mean 2 are 4, 0, 4; residuals 0, 1, 1.
    assert measure(RSquared(TABLE), ([[0.0], [3.0]], [[0.0], [2.0]]), ([[5.0]], [[4.0]])) == 1 - 2 / 8
    assert measure(RSquared(TABLE), ([[2.0]] * 3, [[0.0], [2.0], [4.0]])) == 0.0


def test_r2_is_the_mean_over_the_outputs_that_vary():
    first, second = [[0.0, 1.0], [2.0, 1.0]], [[0.0, 5.0], [4.0, 5.0]]
    assert measure(RSquared(PAIR), (first, second)) == 1 - 4 / 8
    assert math.isnan(measure(RSquared(TABLE), ([[0.2]], [[0.1]]), ([[0.2], [0.3]], [[0.1], [0.1]])))
    assert math.isnan(measure(RSquared(TABLE), ([[0.2]], [[0.1]])))


def test_r2_keeps_its_digits_where_the_mean_is_large_beside_the_spread():
    targets = 1e8 + np.array([[0.0], [1.0], [2.0], [3.0]])
    outputs = targets + np.array([[0.5], [-0.5], [0.5], [-0.5]])
    batches = [(outputs[i : i + 1], targets[i : i + 1]) for i in range(4)]
    assert measure(RSquared(TABLE), *batches) == pytest.approx(1 - 1 / 5, rel=1e-12)


@pytest.mark.parametrize(("outputs", "expected"), [([[3.4], [2.6], [2.4], [9.0]], 0.5), ([[3.0]] * 4, 1.0)])
def test_rounded_accuracy_counts_predictions_that_round_to_the_target(outputs, expected):
    spec = dataclasses.replace(TABLE, target=Values(("digit",), mean=(4.45,), scale=(2.89,)))
    outputs, targets = (spec.target.normalise(np.array(values)) for values in (outputs, [[3.0]] * 4))
    assert targets.dtype == np.float32
    assert measure(RoundedAccuracy(spec), (outputs, targets)) == expected


def test_rounded_accuracy_takes_classes_as_numbers_and_wants_all_outputs_right():
    assert measure(RoundedAccuracy(SINGLE), ([[1.4], [2.0], [0.0]], [1, 2, 3])) == pytest.approx(2 / 3)
    # In their own unit, 1 and 10 * 0.1 + 9: the second output is off by 1 once.
    assert measure(RoundedAccuracy(PAIR), ([[1.0, 0.1], [1.0, 0.2]], [[1.0, 0.1], [1.0, 0.1]])) == 0.5


@pytest.mark.parametrize("number", range(3))
def test_errors_are_those_of_scikit_learn(number):
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    random = np.random.default_rng(number)
    targets = random.normal(size=(50, 2))
    outputs = targets + random.normal(size=(50, 2)) * (0.3, 2.0)
    batches = list(zip(np.split(outputs, [7, 8, 30]), np.split(targets, [7, 8, 30]), strict=True))
    assert measure(RSquared(PAIR), *batches) == pytest.approx(r2_score(targets, outputs), rel=1e-12)
    square = mean_squared_error(targets, outputs)
    assert measure(MeanSquaredError(PAIR), *batches) == pytest.approx(square, rel=1e-12)
    assert measure(RootMeanSquaredError(PAIR), *batches) == pytest.approx(math.sqrt(square), rel=1e-12)
    assert measure(MeanAbsoluteError(PAIR), *batches) == pytest.approx(mean_absolute_error(targets, outputs), rel=1e-12)


ERRORS = [MeanSquaredError, MeanAbsoluteError, RootMeanSquaredError, RSquared, RoundedAccuracy]


@pytest.mark.parametrize("metric", ERRORS)
def test_errors_of_double_precision_keep_it(metric):
    # Both are the same number in float32.
    outputs, targets = np.array([[1.0 + 1e-9], [2.0]]), np.array([[1.0], [2.0]])
    wanted = {"mse": 5e-19, "mae": 5e-10, "rmse": math.sqrt(5e-19)}
    value = measure(metric(TABLE), (outputs, targets))
    assert value == pytest.approx(wanted.get(getattr(metric, "name", ""), 1.0), rel=1e-6)


@pytest.mark.parametrize("metric", ERRORS)
def test_error_never_broadcasts(metric):
    with pytest.raises(ConfigError, match=r"needs outputs and targets of one shape \[N, K\]"):
        metric(TABLE).update(np.zeros((3, 1), np.float32), np.zeros(3, np.float32))


@pytest.mark.parametrize("metric", ERRORS)
def test_error_refuses_classes(metric):
    with pytest.raises(ConfigError, match=r"are 10 classes\. Choose metrics=accuracy"):
        metric(DIGITS)


@pytest.mark.parametrize(("metric", "spec"), [(Accuracy, DIGITS), *((metric, TABLE) for metric in ERRORS)])
def test_no_batch_is_not_a_number(metric, spec):
    assert math.isnan(metric(spec).compute())


@pytest.mark.parametrize("metric", [MeanSquaredError, RootMeanSquaredError])
def test_an_exploding_run_has_an_infinite_error_and_no_warning(metric):
    assert measure(metric(TABLE), ([[1e200]], [[0.0]])) == math.inf
    assert measure(RSquared(TABLE), ([[1e200], [0.0]], [[0.0], [1.0]])) == -math.inf
    largest, infinite, zero = (np.array([[value]], np.float32) for value in (3e38, math.inf, 0.0))
    assert measure(metric(TABLE), (infinite, zero)) == math.inf
    assert 1e38 < measure(metric(TABLE, own_unit=True), (largest, zero)) < math.inf


@pytest.mark.parametrize("metric", ERRORS[:4])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_same_infinity_as_output_and_target_is_not_a_number_and_no_warning(metric, kind):
    values = np.array([[math.inf], [1.0]], kind)
    assert math.isnan(measure(metric(TABLE), (values, values)))


def test_infinite_logits_have_no_area_and_no_warning():
    outputs = np.full((2, 10), math.inf, np.float32)
    assert math.isnan(measure(AreaUnderROC(DIGITS), (outputs, np.array([0, 1]))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Accuracy(COLOURS, top_k=2),
        lambda: Precision(COLOURS, average="weighted"),
        lambda: MeanAbsoluteError(PAIR),
        lambda: RootMeanSquaredError(PAIR, own_unit=True),
        lambda: RoundedAccuracy(PAIR),
    ],
)
def test_merging_is_as_good_as_measuring_the_same_batches(make):
    draw = np.random.default_rng(0)
    whole, merged = make(), make()
    for size in (3, 1, 4):
        part = make()
        classes = isinstance(part, (Accuracy, Precision))
        outputs = draw.normal(size=(size, 5 if classes else 2)).astype(np.float32)
        targets = draw.integers(0, 5, size) if classes else draw.normal(size=(size, 2)).astype(np.float32)
        whole.update(outputs, targets)
        part.update(outputs, targets)
        merged.merge(part)
    assert merged.compute() == whole.compute()
