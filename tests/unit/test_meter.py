from __future__ import annotations

import json
import math

import numpy as np
import pytest

from expkit.api import ConfigError, StepResult
from expkit.errors import PluginError
from expkit.metrics import Meter, packed, unpacked


class Count:
    higher_is_better = True

    def reset(self):
        self.seen = 0

    def update(self, outputs, targets):
        self.seen += len(outputs)

    def compute(self):
        return np.float32(self.seen)


def test_what_is_no_metric_is_named_with_what_it_lacks():
    class Half:
        higher_is_better = True

        def update(self, outputs, targets):
            pass

    with pytest.raises(PluginError, match=r"metric 'half'.*Half\) has no reset and no compute\. A metric has reset, "):
        Meter({"half": Half()})


def test_the_loss_is_the_mean_over_samples_not_over_batches():
    meter = Meter({})
    meter.update(StepResult(1.0, np.zeros((3, 2))), np.zeros(3))
    meter.update(StepResult(5.0, np.zeros((1, 2))), np.zeros(1))
    assert meter.compute() == {"loss": 2.0}  # (3 * 1 + 1 * 5) / 4


class Additive(Count):
    def merge(self, other):
        self.seen += other.seen
        self.merged = True


def test_a_batch_is_taken_over_from_the_meter_that_measured_it():
    def meter():
        return Meter({"count": Count(), "additive": Additive()})

    epoch, step, one_by_one = meter(), meter(), meter()
    for loss, size in ((1.0, 3), (5.0, 1), (math.inf, 2)):
        result, targets = StepResult(loss, np.zeros((size, 2))), np.zeros(size)
        step.reset()
        step.update(result, targets)
        epoch.merge(step, result, targets)
        one_by_one.update(result, targets)
    assert epoch.compute() == one_by_one.compute() == {"loss": math.inf, "count": 6, "additive": 6}
    assert epoch.state_dict() == one_by_one.state_dict()
    assert epoch._metrics["additive"].merged


def test_a_merge_that_was_inherited_is_not_trusted_with_what_is_gathered_otherwise():
    class Doubled(Additive):
        def update(self, outputs, targets):
            super().update(outputs, targets)
            self.twice = getattr(self, "twice", 0) + 2 * len(outputs)

        def compute(self):
            return float(self.twice)

    epoch, step = Meter({"doubled": Doubled()}), Meter({"doubled": Doubled()})
    result, targets = StepResult(1.0, np.zeros((3, 2))), np.zeros(3)
    step.update(result, targets)
    epoch.merge(step, result, targets)
    assert epoch.compute()["doubled"] == 6


def test_a_metric_that_fails_to_merge_is_named():
    class Odd(Count):
        def merge(self, other):
            raise KeyError("seen")

    epoch, step = Meter({"odd": Odd()}), Meter({"odd": Odd()})
    with pytest.raises(PluginError, match=r"metric 'odd' .*failed in merge: KeyError"):
        epoch.merge(step, StepResult(1.0, np.zeros((3, 2))), np.zeros(3))


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


class Sum(Count):
    """A metric with a state: the sum of all outputs, in float32."""

    def reset(self):
        self.total = np.zeros((), np.float32)

    def update(self, outputs, targets):
        self.total = self.total + outputs.sum(dtype=np.float32)

    def compute(self):
        return float(self.total)

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def feed(meter, *losses):
    for loss in losses:
        meter.update(StepResult(loss, np.full((3, 2), loss, np.float32)), np.zeros(3))


def test_a_meter_goes_on_in_another_process_as_if_it_had_not_stopped():
    whole, first, second = (Meter({"sum": Sum()}) for _ in range(3))
    feed(whole, 0.1, 0.7, 1e-3, math.inf)
    feed(first, 0.1, 0.7)
    feed(second, 9.0)  # to be forgotten
    assert second.load_state_dict(json.loads(json.dumps(first.state_dict()))) == ()
    feed(second, 1e-3, math.inf)
    assert second.compute() == whole.compute()


def test_a_metric_without_a_state_begins_anew_and_is_named():
    first, second = (Meter({"sum": Sum(), "count": Count()}) for _ in range(2))
    feed(first, 1.0)
    feed(second, 9.0)
    assert second.load_state_dict(first.state_dict()) == ("count",)
    assert second.compute() == {"loss": 1.0, "sum": 6.0, "count": 0.0}


def test_an_empty_state_is_a_reset():
    meter = Meter({"sum": Sum()})
    feed(meter, 1.0)
    assert meter.load_state_dict({}) == ("sum",)
    assert math.isnan(meter.compute()["loss"])


@pytest.mark.parametrize(
    "value",
    [
        np.array([[np.nan, -0.0, 1e-308]]),
        np.array([2**62 + 1]),
        np.array([True, False]),
        np.zeros((0, 3), np.float16),
        np.float32(0.1),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    ],
)
def test_arrays_come_back_bit_by_bit_and_may_be_written(value):
    back = unpacked(json.loads(json.dumps(packed({"inner": [value, 1.5, None]}))))["inner"]
    assert back[1:] == [1.5, None]
    assert (back[0].dtype, back[0].shape) == (value.dtype, value.shape)
    assert back[0].tobytes() == value.tobytes()
    assert isinstance(back[0], np.generic) or back[0].flags.writeable


@pytest.mark.parametrize("value", [{1, 2}, np.array(["a"]), np.array([None]), b"x"])
def test_a_state_that_no_checkpoint_can_keep_is_refused_with_the_metric(value):
    metric = Sum()
    meter = Meter({"mine": metric})
    metric.total = [value]
    with pytest.raises(PluginError, match=r"metric 'mine': its state_dict holds a \w+, but may hold numbers, texts"):
        meter.state_dict()
