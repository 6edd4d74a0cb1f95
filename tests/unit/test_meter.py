from __future__ import annotations

import math

import numpy as np
import pytest

from expkit.api import ConfigError, StepResult
from expkit.metrics import Meter


class Count:
    higher_is_better = True

    def reset(self):
        self.seen = 0

    def update(self, outputs, targets):
        self.seen += len(outputs)

    def compute(self):
        return np.float32(self.seen)


def test_the_loss_is_the_mean_over_samples_not_over_batches():
    meter = Meter({})
    meter.update(StepResult(1.0, np.zeros((3, 2))), np.zeros(3))
    meter.update(StepResult(5.0, np.zeros((1, 2))), np.zeros(1))
    assert meter.compute() == {"loss": 2.0}  # (3 * 1 + 1 * 5) / 4


def test_names_are_prefixed_and_values_are_plain_floats():
    meter = Meter({"count": Count()})
    meter.update(StepResult(1.0, np.zeros((3, 2))), np.zeros(3))
    values = meter.compute("train/")
    assert values == {"train/loss": 1.0, "train/count": 3.0}
    assert {type(value) for value in values.values()} == {float}


def test_a_reset_forgets_all():
    meter = Meter({"count": Count()})
    meter.update(StepResult(1.0, np.zeros((3, 2))), np.zeros(3))
    meter.reset()
    values = meter.compute()
    assert math.isnan(values["loss"])  # of no batches, as the contract of metrics says
    assert values["count"] == 0


def test_a_metric_called_loss_is_refused():
    with pytest.raises(ConfigError, match="a metric is called 'loss'"):
        Meter({"loss": Count()})
