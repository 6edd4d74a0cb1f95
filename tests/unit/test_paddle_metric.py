"""Metrics and transforms that know nothing of expkit."""

import os
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

import paddle
from paddle.vision import transforms as T  # noqa: N812 - the name that Paddle's own examples use

from expkit.api import Classes, ConfigError
from expkit.metrics import packed, unpacked
from expkit.testing import check_metric, check_transform, example_batch, example_specs
from expkit_metrics.paddle_metric import PaddleMetric
from expkit_transforms.paddle_transform import PaddleTransform

GREY, COLOUR, TABLE = example_specs()
TWO = replace(GREY, target=Classes(("no", "yes")))


class Largest(paddle.metric.Metric):
    """The largest error: a user's own, of values, kept in a tensor."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.worst = paddle.zeros([])

    def update(self, errors):
        self.worst = paddle.maximum(self.worst, paddle.to_tensor(errors.max()))

    def accumulate(self):
        return float(self.worst)

    def compute(self, outputs, targets):
        return (outputs - targets).abs()

    def name(self):
        return "largest"


@pytest.mark.parametrize(
    ("spec", "make", "options"),
    [
        (GREY, paddle.metric.Accuracy, {}),
        (COLOUR, partial(paddle.metric.Accuracy, topk=(1, 3)), {"item": 1}),
        (TWO, paddle.metric.Precision, {}),
        (TWO, paddle.metric.Recall, {}),
        (TWO, paddle.metric.Auc, {}),
        (TABLE, Largest, {"higher_is_better": False}),
    ],
)
def test_a_metric_of_paddle_conforms(spec, make, options):
    def fresh(spec):
        return PaddleMetric(spec, of=make(), **options)

    fresh.__doc__ = PaddleMetric.__doc__
    check_metric(fresh, specs=[spec])


def test_it_is_the_value_of_paddle_itself():
    outputs = np.random.default_rng(0).standard_normal((50, 10)).astype("float32")
    classes = np.arange(50) % 10
    own = PaddleMetric(GREY, of=paddle.metric.Accuracy(topk=(1, 5)), item=1)
    own.update(outputs, classes)
    best = np.argsort(-outputs, axis=1)[:, :5]
    assert own.compute() == pytest.approx((best == classes[:, None]).any(axis=1).mean())


def test_what_a_checkpoint_cannot_hold_is_not_promised():
    assert not hasattr(PaddleMetric(TABLE, of=Largest()), "state_dict")
    state = packed(PaddleMetric(GREY, of=paddle.metric.Accuracy()).state_dict())
    assert unpacked(state)["samples"] == 0


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (GREY, {}, r"of is missing.*of\._target_="),
        (GREY, {"of": 3}, "of is a int"),
        (GREY, {"of": paddle.metric.Accuracy(), "outputs": "all"}, "outputs='all'"),
        (GREY, {"of": paddle.metric.Auc()}, r"Auc is for two classes; .* has 10\. Choose metrics=\[precision\]"),
        (TABLE, {"of": Largest(), "outputs": "probabilities"}, "needs classes"),
    ],
)
def test_what_cannot_be_of_a_metric_is_told(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        PaddleMetric(spec, **options)


def test_a_value_that_is_not_there_is_told():
    metric = PaddleMetric(GREY, of=paddle.metric.Accuracy(topk=(1, 2)), item=2)
    metric.update(np.zeros((4, 10), "float32"), np.arange(4))
    with pytest.raises(ConfigError, match="must be from 0 to 1"):
        metric.compute()


def upside_down(image):
    return image.transpose(1)


@pytest.mark.parametrize(
    ("steps", "image"),
    [
        ([T.RandomHorizontalFlip(0.5)], "pil"),
        ([T.RandomCrop(24), T.Resize((28, 28))], "pil"),
        ([T.RandomRotation(20)], "rgb"),
        ([T.BrightnessTransform(0.4)], "pil"),
        ([T.RandomErasing(prob=1.0)], "array"),
        ([upside_down], "pil"),
    ],
)
def test_a_transform_of_paddle_conforms(steps, image):
    check_transform(partial(PaddleTransform, of=steps, image=image), specs=[GREY])


def test_arrays_are_given_to_those_who_want_them():
    turned = PaddleTransform(GREY, of=[lambda image: image[::-1]], image="array")
    batch = example_batch(GREY)
    assert np.array_equal(turned(batch, np.random.default_rng(0)).inputs, batch.inputs[:, ::-1])


def test_colours_are_jittered_and_python_s_generator_is_left_alone():
    batch = example_batch(COLOUR)
    jitter = PaddleTransform(COLOUR, of=[T.ColorJitter(0.4, 0.4, 0.4, 0.1), T.RandomResizedCrop((32, 32))])
    before = random.getstate()
    first, again, other = (jitter(batch, np.random.default_rng(seed)).inputs for seed in (1, 1, 2))
    assert random.getstate() == before
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "of is missing"),
        (["flip"], "of holds a str"),
        ([T.RandomRotation(20)], r"RandomRotation fails .*image=rgb or array"),
        ([T.ToTensor()], r"ToTensor gives .*leave it out"),
        ([T.Resize((20, 20))], r"Resize gives .*expected an image \[28, 28, 1\] at the end"),
    ],
)
def test_what_cannot_be_of_a_transform_is_told(steps, message):
    with pytest.raises(ConfigError, match=message):
        PaddleTransform(GREY, of=steps)(example_batch(GREY), np.random.default_rng(0))
