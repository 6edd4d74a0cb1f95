from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from expkit.api import ArraySplit, Classes, Data, DataSource, DataSpec, StepResult, TableInput, Values
from expkit.checkup import checkup
from expkit.checkup.data import data_section
from expkit.checkup.learning import memorise
from expkit.checkup.survey import survey
from expkit.config import compose
from expkit.data import Batches
from expkit.metrics import Meter
from expkit.preparation import Prepared
from expkit.trainer import Monitor

SOURCE = DataSource("generated", "tests")
INPUT = TableInput(("a", "b"), (0.0, 0.0), (1.0, 1.0))
YES_NO = DataSpec("yes or no", INPUT, Classes(("no", "yes")), SOURCE, "0" * 64)
PRICES = DataSpec("prices", INPUT, Values(("price",), (0.0,), (1.0,)), SOURCE, "1" * 64)
MLP = ("dataset=mnist", "dataset.download=false", "dataset.root=null", "model=mlp", "export=none")


def rows(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 2))


def splits(spec=YES_NO, count=40):
    """Three splits without a fault."""
    made = {}
    for seed, name in enumerate(("train", "valid", "test")):
        values = np.random.default_rng(seed).normal(size=(count, 1)).astype(np.float32)
        made[name] = ArraySplit(rows(count, seed), np.arange(count) % 2 if spec is YES_NO else values)
    return made


def findings_of(spec, parts, **batches):
    """What is found about data that is made of these splits."""
    data = Data(spec, **parts)
    cut = {
        name: Batches(split, spec, batch_size=8, **(batches if name == "train" else {}))
        for name, split in parts.items()
    }
    prepared = Prepared(data, cut, None, {"eval": Meter({})}, Monitor("valid/loss", False), {}, "cpu", {})
    return data_section(prepared)


def said(section, *levels):
    return [(f.what, f.text) for f in section.findings if f.level in (levels or ("note", "warning", "FAIL"))]


def test_a_split_in_figures():
    spec = replace(YES_NO, input=TableInput(("a", "b"), (1.0, 0.0), (2.0, 1.0)))
    found = survey(ArraySplit(np.array([[1.0, 5.0], [5.0, 5.0], [1.0, 5.0]]), np.array([1, 1, 0])), spec, 1.0)
    assert (found.size, found.seen, found.not_finite) == (3, 3, 0)
    assert (found.low, found.high, found.mean) == (0.0, 5.0, pytest.approx(17 / 6))
    assert found.std == pytest.approx(np.std([0, 5, 2, 5, 0, 5]))
    assert found.classes.tolist() == [1, 2]
    assert found.constant == [1]
    assert len(found.hashes) == 2


def test_a_large_split_is_sampled_all_over_when_time_is_over():
    split = ArraySplit(np.arange(10_000.0).repeat(2).reshape(-1, 2), np.arange(10_000) // 5000)
    found = survey(split, YES_NO, 0.0)
    assert (found.size, found.seen) == (10_000, 1000)
    assert found.classes.tolist() == [500, 500]


def test_sound_data_gives_nothing_to_say():
    section = findings_of(YES_NO, splits())
    assert said(section) == []
    assert "train         40 " in section.text and "20 of 'no' to 20 of 'no'" in section.text
    assert said(findings_of(PRICES, splits(PRICES))) == []


def test_samples_in_two_splits_are_counted():
    parts = splits()
    both = np.concatenate([parts["train"].inputs[:3], parts["test"].inputs[3:]])
    section = findings_of(YES_NO, {**parts, "test": ArraySplit(both, parts["test"].targets)})
    assert said(section) == [("overlap", "3 of 40 samples of test are in train too")]


def test_validation_on_the_training_split_is_a_note():
    parts = splits()
    section = findings_of(YES_NO, {**parts, "valid": parts["train"]})
    ((what, text),) = said(section, "note")
    assert what == "overlap" and text.startswith("valid and train are the same samples")
    assert said(section, "warning", "FAIL") == []


def test_a_class_without_samples_and_a_rare_one():
    parts = splits()
    none = {name: ArraySplit(split.inputs, np.zeros(40, np.int64)) for name, split in parts.items()}
    assert ("classes", "no training sample is of class 'yes'") in said(findings_of(YES_NO, none))
    rare = {name: ArraySplit(split.inputs, np.arange(40) // 39) for name, split in parts.items()}
    text = "the commonest class is 39 times as frequent as the rarest; always answering 'no' is right in 97.5%"
    assert said(findings_of(YES_NO, rare)) == [("classes", text)]


def test_data_that_was_sorted_before_it_was_split():
    parts = splits(count=200)
    sorted_ = {**parts, "test": ArraySplit(parts["test"].inputs, np.ones(200, np.int64))}
    assert said(findings_of(YES_NO, sorted_)) == [
        ("classes", "50% of test would have to change class to have the shares of train")
    ]
    prices = splits(PRICES, count=200)
    shifted = {**prices, "test": ArraySplit(prices["test"].inputs, prices["test"].targets + 2)}
    ((what, text),) = said(findings_of(PRICES, shifted))
    assert what == "targets" and text.startswith("the mean of test lies 2.1 standard deviations off")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_fail(value):
    parts = splits()
    parts["valid"].inputs[0, 0] = value
    ((what, text),) = said(findings_of(YES_NO, parts), "FAIL")
    assert (what, text) == ("numbers", "inputs or targets are NaN or infinite: 1 in valid")


def test_inputs_that_nobody_normalised_and_a_constant_column():
    parts = {name: ArraySplit(1000 + 300 * split.inputs, split.targets) for name, split in splits().items()}
    parts["train"].inputs[:, 1] = 5.0
    found = said(findings_of(YES_NO, parts))
    assert [what for what, _ in found] == ["range", "columns"]
    assert found[1][1] == "the same in every training sample: b"


def test_targets_that_are_all_the_same_fail():
    parts = splits(PRICES)
    still = {name: ArraySplit(split.inputs, np.ones((40, 1), np.float32)) for name, split in parts.items()}
    assert ("targets", "the targets are the same in every training sample") in said(findings_of(PRICES, still), "FAIL")


def test_a_transform_that_makes_nan_fails():
    class Spoil:
        def __call__(self, batch, generator):
            return replace(batch, inputs=batch.inputs * np.nan)

    ((what, text),) = said(findings_of(YES_NO, splits(), transforms=[Spoil()]), "FAIL")
    assert what == "batch" and "augmented by Spoil: NaN or infinite" in text


class Script:
    """A learner whose losses a test lists, and whose one weight grows by half of itself with each step."""

    def __init__(self, losses):
        self.losses, self.weight = losses, np.full((2, 2), 1.0)

    def state_dict(self):
        return type("State", (), {"model": {"w": self.weight}})

    def train_step(self, inputs, targets):
        self.weight = self.weight * 1.5
        return StepResult(self.losses.pop(0) if len(self.losses) > 1 else self.losses[0], np.eye(2)[targets])

    def eval_step(self, inputs, targets):
        return StepResult(self.losses[0], np.eye(2)[targets])


def test_learning_by_heart_ends_when_it_is_known():
    result = memorise(Script([2.0, 1.0, 0.04, 7.0]), np.zeros((2, 2)), np.array([0, 1]), 0, 9, 9.0, classes=True)
    assert (result.first, result.last, result.steps, result.right) == (2.0, 0.04, 3, 1.0)
    assert result.moved == {"w": 0.5} and result.is_learned
    assert str(result) == "loss 2 -> 0.04, 100% right, after 3 steps"


def test_learning_by_heart_ends_after_its_steps_or_its_time():
    arguments = (np.zeros((2, 2)), np.array([0, 1]), 0)
    slow = memorise(Script([2.0]), *arguments, 9, 9.0, classes=False)
    assert (slow.steps, slow.last, slow.right, slow.is_learned) == (9, 2.0, None, False)
    assert memorise(Script([2.0]), *arguments, 9, 0.0, classes=False).steps <= 1
    broken = memorise(Script([2.0, float("inf")]), *arguments, 9, 9.0, classes=False)
    assert np.isnan(broken.last) and not broken.is_learned


@pytest.fixture(autouse=True)
def no_genuine_data(monkeypatch):
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)


@functools.cache
def check(*overrides):
    """Check a small network on the stand-in; return its sections by title."""
    return {section.title: section for section in checkup(compose([*MLP, *overrides]))}


def test_a_sound_experiment_has_no_failure():
    sections = check("model.hidden=[32]")
    assert list(sections) == ["data", "model", "learning"]
    assert "hidden1 Linear [N, 32] 25,120 50,176" in " ".join(sections["model"].text.split())
    everything = [finding for section in sections.values() for finding in section.findings]
    assert {f.what for f in everything if f.level == "ok"} >= {
        *("range", "classes", "overlap", "batch", "first loss", "gradients"),
        *("repeatable", "first step", "by heart"),
    }
    assert [f.what for f in everything if f.level == "warning"] == ["source"]
    assert [f for f in everything if f.level == "FAIL"] == []


@pytest.mark.parametrize(
    ("model", "level", "title", "text"),
    [
        ("Zeros", "warning", "model", "first.weight, head.weight: all numbers are the same, so that units are copies"),
        ("Zeros", "FAIL", "learning", "cannot even learn these"),
        ("Dead", "FAIL", "model", "relu: 32 of 32 units are 0 for all 64 samples"),
        ("Dead", "FAIL", "learning", "cannot even learn these"),
        ("Dead", "warning", "model", "the model answers the same to every sample"),
        ("Wide", "warning", "model", "a model that gives all 10 classes the same chance has 2.3"),
        ("NoLogarithm", "FAIL", "model", "loss is nan"),
        ("NoLogarithm", "FAIL", "learning", "cannot be made: the loss or a gradient is NaN or infinite"),
        ("Unseeded", "warning", "learning", "built twice from one seed, head.weight is different each time"),
        ("Moody", "warning", "learning", "the same weights give another loss each time"),
        ("Cut", "warning", "model", "first.weight, first.bias, idle.weight and 1 more: no gradient arrives"),
        ("Cut", "warning", "model", "idle was never called, but has 12 parameters"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(model, level, title, text):
    found = check(f"model._target_=odd_models.{model}")[title]
    assert [f for f in found.findings if f.level == level and text in f.text and f.advice]


@pytest.mark.parametrize(
    ("overrides", "level", "advice"),
    [
        (["optimizer=sgd", "optimizer.learning_rate=30"], "FAIL", r"optimizer.learning_rate=0.03 does better"),
        (["optimizer=sgd", "optimizer.learning_rate=1e-6"], "FAIL", r"optimizer.learning_rate=0.001 does better"),
    ],
)
def test_a_rate_that_does_not_learn_gets_a_better_one_proposed(overrides, level, advice):
    (found,) = [f for f in check("model.hidden=[32]", *overrides)["learning"].findings if f.what == "by heart"]
    assert found.level == level and advice in found.advice
