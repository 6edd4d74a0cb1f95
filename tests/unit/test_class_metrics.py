"""Precision, recall, F1 and the area under the ROC curve."""

import dataclasses
import math

import numpy as np
import pytest

from expkit.api import Classes, ConfigError, DataSource, DataSpec, TableInput
from expkit.testing import example_specs
from expkit_metrics.auc import AreaUnderROC
from expkit_metrics.f1 import F1
from expkit_metrics.precision import Precision
from expkit_metrics.recall import Recall

VALUES = example_specs()[2]
CLASS_METRICS = [Precision, Recall, F1]
TRUE = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def spec(*labels, scores="logits"):
    return DataSpec(
        "letters",
        TableInput(("x",), (0.0,), (1.0,)),
        Classes(labels, scores),
        DataSource("generated", "here"),
        "0" * 64,
    )


ABC, ABCD, PAIR = spec(*"abc"), spec(*"abcd"), spec("no", "yes")


def predicting(classes, number=3):
    return np.eye(number)[classes]


def measure(metric, *batches):
    for outputs, targets in batches:
        metric.update(np.asarray(outputs), np.asarray(targets))
    return metric.compute()


@pytest.mark.parametrize(
    ("metric", "average", "expected"),
    [
        # a: 2 of 2 predicted are right, 2 of 3 found; b: 1 of 2, 1 of 2; c: 1 of 2, 1 of 1.
        (Precision, "a", 1.0),
        (Precision, "b", 1 / 2),
        (Precision, "macro", (1 + 1 / 2 + 1 / 2) / 3),
        (Precision, "weighted", (3 * 1 + 2 * 1 / 2 + 1 * 1 / 2) / 6),
        (Precision, "micro", 4 / 6),
        (Recall, "a", 2 / 3),
        (Recall, "c", 1.0),
        (Recall, "macro", (2 / 3 + 1 / 2 + 1) / 3),
        (Recall, "weighted", 4 / 6),
        (Recall, "micro", 4 / 6),
        (F1, "a", 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        (F1, "b", 1 / 2),
        (F1, "macro", (4 / 5 + 1 / 2 + 2 / 3) / 3),
        (F1, "weighted", (3 * 4 / 5 + 2 * 1 / 2 + 2 / 3) / 6),
        (F1, "micro", 4 / 6),
    ],
)
def test_scores_by_hand(metric, average, expected):
    outputs = predicting(PREDICTED)
    assert measure(metric(ABC, average=average), (outputs, TRUE)) == pytest.approx(expected)
    batches = (outputs[:1], TRUE[:1]), (outputs[1:], TRUE[1:])
    assert measure(metric(ABC, average=average), *batches) == pytest.approx(expected)


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_a_class_that_neither_occurs_nor_is_predicted_is_left_out(metric):
    seen = measure(metric(ABC), (predicting(PREDICTED), TRUE))
    assert measure(metric(ABCD), (predicting(PREDICTED, 4), TRUE)) == seen
    assert math.isnan(measure(metric(ABCD, average="d"), (predicting(PREDICTED, 4), TRUE)))


@pytest.mark.parametrize("metric", CLASS_METRICS)
@pytest.mark.parametrize(("true", "predicted"), [([0, 0], [0, 1]), ([0, 1], [0, 0])])
def test_a_class_without_a_right_answer_scores_0(metric, true, predicted):
    outputs = predicting(predicted)
    assert measure(metric(ABC, average="b"), (outputs, true)) == 0
    a = measure(metric(ABC, average="a"), (outputs, true))
    assert measure(metric(ABC), (outputs, true)) == a / 2


@pytest.mark.parametrize("metric", [*CLASS_METRICS, AreaUnderROC])
def test_of_shares_the_largest_is_the_true_class(metric):
    outputs = np.random.default_rng(0).normal(size=(6, 3))
    shares = (0.6 * predicting(TRUE) + 0.4 * predicting(PREDICTED)).astype(np.float32)
    assert measure(metric(ABC), (outputs, shares)) == measure(metric(ABC), (outputs, TRUE))


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_an_unknown_average_is_refused_with_all_that_can_be_chosen(metric):
    message = rf"metrics\.{metric.name}\.average='z': choose macro, micro, weighted, or one of .* letters: a, b, c\."
    with pytest.raises(ConfigError, match=message):
        metric(ABC, average="z")


@pytest.mark.parametrize("metric", [*CLASS_METRICS, AreaUnderROC])
def test_classes_are_needed(metric):
    with pytest.raises(ConfigError, match="needs classes, but the targets of example table are numbers"):
        metric(VALUES)


@pytest.mark.parametrize("metric", [*CLASS_METRICS, AreaUnderROC])
@pytest.mark.parametrize("targets", [np.zeros(1, int), np.zeros((3, 1)), np.zeros((1, 3))])
def test_shapes_are_never_broadcast(metric, targets):
    with pytest.raises(ConfigError, match=r"needs outputs \[N, K\] and classes \[N\] or shares \[N, K\]"):
        metric(ABC).update(np.zeros((3, 3)), targets)


@pytest.mark.parametrize("metric", [*CLASS_METRICS, AreaUnderROC])
def test_no_batch_is_not_a_number(metric):
    assert math.isnan(metric(ABC).compute())


@pytest.mark.parametrize(
    ("scores", "true", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 3 / 4),  # one of the four pairs is in the wrong order
        ([0.1, 0.2, 0.7, 0.8], [0, 0, 1, 1], 1.0),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1], 0.5),
        ([0.3, 0.3, 0.9], [0, 1, 0], 1 / 4),  # a tie counts half
    ],
)
def test_area_counts_pairs_in_the_right_order(scores, true, expected):
    scores = np.array(scores)
    probabilities = np.stack([1 - scores, scores], axis=1)
    for kind, outputs in (("probabilities", probabilities), ("log_probabilities", np.log(probabilities))):
        assert measure(AreaUnderROC(spec("no", "yes", scores=kind)), (outputs, true)) == expected
    assert measure(AreaUnderROC(PAIR), (np.log(probabilities), true)) == expected


def test_area_of_logits_compares_samples_by_probability_not_by_logit():
    # The second class has logits 5 and 1, and probabilities 0.01 and 0.99.
    assert measure(AreaUnderROC(PAIR), ([[9.6, 5.0], [-3.6, 1.0]], [0, 1])) == 1.0
    independent = spec("no", "yes", scores="sigmoid")
    assert measure(AreaUnderROC(independent), ([[9.6, 5.0], [-3.6, 1.0]], [0, 1])) == 0.0


def test_area_of_more_classes_is_the_mean_over_those_that_can_be_told_apart():
    outputs = np.array([[3.0, 1.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    # a: sample 0 above sample 1; b: the other way round; no sample is of c or d.
    assert measure(AreaUnderROC(ABCD), (outputs[:2], [0, 1])) == 1.0
    # a: of samples 0 and 2, both above sample 1; b: sample 1 above both.
    assert measure(AreaUnderROC(ABCD), (outputs[:2], [0, 1]), (outputs[2:], [0])) == 1.0
    # a: sample 0 above 2 and 1, sample 1 below 2: one of two pairs; b: sample 2 below both.
    assert measure(AreaUnderROC(ABCD), (outputs, [0, 0, 1])) == (1 / 2 + 0) / 2
    assert math.isnan(measure(AreaUnderROC(ABCD), (outputs, [0, 0, 0])))


def test_area_of_what_is_not_a_number_is_not_a_number():
    assert math.isnan(measure(AreaUnderROC(PAIR), ([[0.0, np.nan], [0.0, 1.0]], [0, 1])))


def test_area_keeps_its_own_copy_of_the_outputs():
    outputs, metric = np.array([[0.0, 0.0], [0.0, 1.0]]), AreaUnderROC(PAIR)
    metric.update(outputs, np.array([0, 1]))
    outputs[...] = 0
    assert metric.compute() == 1.0


def test_area_needs_two_classes():
    with pytest.raises(ConfigError, match="metrics=auc needs two classes or more; letters has 1"):
        AreaUnderROC(spec("a"))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_scores_are_those_of_scikit_learn(number, average):
    from sklearn.metrics import f1_score, precision_score, recall_score

    random = np.random.default_rng(number)
    true, outputs = random.integers(0, 3, 12), random.normal(size=(12, 4))  # the fourth class never occurs
    batches = list(zip(np.split(outputs, [1, 5]), np.split(true, [1, 5]), strict=True))
    for metric, reference in ((Precision, precision_score), (Recall, recall_score), (F1, f1_score)):
        wanted = reference(true, outputs.argmax(axis=1), average=average, zero_division=0)
        assert measure(metric(ABCD, average=average), *batches) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("classes", [2, 5])
def test_areas_are_those_of_scikit_learn(number, classes):
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(number)
    true = random.permutation(40) % classes
    outputs = random.normal(size=(40, classes)).round(1) + 0.5 * np.eye(classes)[true]
    outputs[::3] = outputs[0]  # ties
    target = spec(*"abcde"[:classes])
    probabilities = target.target.probabilities(outputs)
    wanted = roc_auc_score(true, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    batches = list(zip(np.split(outputs, [1, 5]), np.split(true, [1, 5]), strict=True))
    assert measure(AreaUnderROC(target), *batches) == pytest.approx(wanted, rel=1e-12)
    given = dataclasses.replace(target, target=Classes(target.labels, scores="probabilities"))
    assert measure(AreaUnderROC(given), (probabilities, true)) == pytest.approx(wanted, rel=1e-12)
