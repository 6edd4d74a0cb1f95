"""Losses that know nothing of expkit."""

import os
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

import paddle
from paddle import nn

from expkit.api import ConfigError
from expkit.testing import check_loss, example_specs
from expkit_losses.paddle_loss import PaddleLoss

GREY, COLOUR, TABLE = example_specs()


@pytest.mark.parametrize(
    ("specs", "options"),
    [
        ([GREY, COLOUR], {"of": nn.CrossEntropyLoss()}),
        ([GREY], {"of": nn.CrossEntropyLoss(reduction="none"), "targets": "column"}),
        ([GREY], {"of": partial(nn.functional.cross_entropy), "targets": "column"}),
        ([GREY], {"of": nn.BCEWithLogitsLoss(), "targets": "one_hot", "scores": "sigmoid"}),
        ([GREY], {"of": nn.NLLLoss(), "scores": "log_probabilities"}),
        ([TABLE], {"of": nn.MSELoss()}),
        ([TABLE], {"of": partial(nn.functional.square_error_cost)}),
        ([TABLE], {"of": lambda outputs, targets: (outputs - targets).abs().mean()}),
    ],
)
def test_a_loss_of_paddle_conforms(specs, options):
    check_loss(partial(PaddleLoss, **options), specs=specs)


def test_a_loss_that_wants_other_targets_is_told_with_the_option():
    with pytest.raises(
        ConfigError, match=r"fails on outputs \[2, 10\] float32 .* another of loss\.targets=auto, column"
    ):
        PaddleLoss(GREY, of=nn.BCEWithLogitsLoss())(paddle.zeros([2, 10]), paddle.to_tensor([1, 2]))


def test_it_is_the_value_of_paddle_itself():
    outputs, classes = paddle.randn([6, 10]), paddle.arange(6)
    own = PaddleLoss(GREY, of=nn.CrossEntropyLoss(label_smoothing=0.1))(outputs, classes)
    assert np.isclose(float(own), float(nn.CrossEntropyLoss(label_smoothing=0.1)(outputs, classes)))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (GREY, {}, r"loss\.of is missing.*loss\.of\._target_="),
        (GREY, {"of": 3}, "loss.of is a int"),
        (GREY, {"of": nn.MSELoss(), "targets": "onehot"}, "loss.targets='onehot'"),
        (GREY, {"of": nn.MSELoss(), "scores": "odds"}, "loss.scores='odds'"),
        (TABLE, {"of": nn.MSELoss(), "targets": "one_hot"}, "is for classes"),
    ],
)
def test_what_cannot_be_is_told(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        PaddleLoss(spec, **options)


def test_mixed_classes_need_a_loss_of_shares():
    with pytest.raises(ConfigError, match=r"need loss\.targets=one_hot"):
        PaddleLoss(GREY, of=nn.CrossEntropyLoss())(paddle.zeros([4, 10]), paddle.full([4, 10], 0.1))
