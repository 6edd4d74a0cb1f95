import dataclasses
import math

import numpy as np
import pytest

from expkit.api import ConfigError, Values
from expkit.testing import example_specs
from expkit_metrics.accuracy import Accuracy
from expkit_metrics.mae import MeanAbsoluteError
from expkit_metrics.mse import MeanSquaredError

DIGITS, COLOURS, TABLE = example_specs()
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


@pytest.mark.parametrize("targets", [np.zeros(1, int), np.zeros((3, 1), int)])
def test_accuracy_never_broadcasts(targets):
    with pytest.raises(ConfigError, match=r"needs logits \[N, K\] and classes \[N\]"):
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
    spec = dataclasses.replace(TABLE, target=Values(("a", "b"), mean=(0.0, 9.0), scale=(1.0, 10.0)))
    assert measure(MeanAbsoluteError(spec, own_unit=True), ([[1.0, 1.0]], [[0.0, 0.0]])) == 5.5


@pytest.mark.parametrize("metric", [MeanSquaredError, MeanAbsoluteError])
def test_error_never_broadcasts(metric):
    with pytest.raises(ConfigError, match=r"needs outputs and targets of one shape \[N, K\]"):
        metric(TABLE).update(np.zeros((3, 1), np.float32), np.zeros(3, np.float32))


@pytest.mark.parametrize("metric", [MeanSquaredError, MeanAbsoluteError])
def test_error_refuses_classes(metric):
    with pytest.raises(ConfigError, match=r"are 10 classes\. Choose metrics=accuracy"):
        metric(DIGITS)


@pytest.mark.parametrize(
    ("metric", "spec"), [(Accuracy, DIGITS), (MeanSquaredError, TABLE), (MeanAbsoluteError, TABLE)]
)
def test_no_batch_is_not_a_number(metric, spec):
    assert math.isnan(metric(spec).compute())
