"""A callback or a metric of a third party that fails is named, and ends the run only where it should."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from expkit.api import Callback, ConfigError, EpochEnd, StepEnd, StepResult
from expkit.callbacks import History
from expkit.errors import CallbackError, PluginError
from expkit.isolation import Guarded, failures
from expkit.metrics import Meter
from expkit.trainer import Interrupted, Pruned

OWNER = " of acme 1.2 (acme.beep.Beep)"
EPOCH = EpochEnd(3, 120, {}, False, 1.0, print)
STEP = StepEnd(3, 121, 1, 8, 0.5, 0.1, {})


class Beep(Callback):
    def __init__(self, error=None):
        self.error, self.heard = error, []

    def on_epoch_end(self, event):
        self.heard.append(event.epoch)
        if self.error:
            raise self.error

    def state_dict(self):
        return {"heard": self.heard}

    def load_state_dict(self, state):
        self.heard = state["heard"]


class Needed(Beep):
    role = "essential"


def test_an_observer_that_raises_is_named_and_switched_off(caplog):
    beep = Beep(ValueError("no sound\nat all"))
    guarded = Guarded("beep", beep, OWNER)
    with caplog.at_level(logging.INFO, logger="expkit"):
        guarded.on_epoch_end(EPOCH)
        guarded.on_epoch_end(EPOCH)
    assert beep.heard == [3]
    wanted = f"callback beep{OWNER} failed in on_epoch_end in epoch 3, step 120: ValueError: no sound"
    assert [str(one) for one in failures({"beep": guarded})] == [wanted]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"{wanted}. It is switched off, and training goes on without it; its traceback is in run.log."]
    assert guarded.state_dict() == {}


def test_an_essential_one_that_raises_ends_the_run_as_failed():
    with pytest.raises(
        CallbackError, match=r"beep of acme 1\.2 .* in on_epoch_end .*ValueError: x\. It is essential"
    ) as e:
        Guarded("beep", Needed(ValueError("x")), OWNER).on_epoch_end(EPOCH)
    assert e.value.exit_code == 1


@pytest.mark.parametrize("error", [ConfigError("no such metric"), Interrupted(), Pruned("enough"), KeyboardInterrupt()])
def test_what_is_meant_for_the_user_and_requests_to_stop_pass_through(error):
    with pytest.raises(type(error)) as caught:
        Guarded("beep", Beep(error), OWNER).on_epoch_end(EPOCH)
    assert caught.value is error


def test_a_state_that_cannot_be_taken_back_switches_an_observer_off():
    guarded = Guarded("beep", Beep(), OWNER)
    guarded.load_state_dict({"other": 1})
    assert guarded.failure.event == "load_state_dict"


def test_what_a_callback_does_not_override_costs_no_call(tmp_path):
    guarded = Guarded("beep", Beep(), OWNER)
    assert "on_step_end" not in vars(guarded)
    guarded.on_step_end(STEP)
    assert {"on_step_end", "on_epoch_end", "on_fit_end"} <= set(vars(Guarded("history", History(tmp_path), "")))


def test_one_that_is_no_callback_is_told_of_what_it_has_a_method_for():
    class Foreign:
        heard = 0

        def on_step_end(self, event):
            self.heard = event.step

    guarded = Guarded("foreign", foreign := Foreign(), "")
    guarded.on_step_end(STEP)
    guarded.on_epoch_end(EPOCH)
    assert foreign.heard == 121


def test_a_role_that_is_none_is_refused():
    beep = Beep()
    beep.role = "vital"
    with pytest.raises(
        PluginError, match=r"callback 'beep' of acme .*role='vital', which must be observer or essential"
    ):
        Guarded("beep", beep, OWNER)


class Odd:
    higher_is_better = True

    def __init__(self, value=0.5, error=None):
        self.value, self.error = value, error

    def reset(self):
        pass

    def update(self, outputs, targets):
        if self.error:
            raise self.error

    def compute(self):
        return self.value


def meter(**options):
    made = Meter({"odd": Odd(**options)})
    made.update(StepResult(0.5, np.zeros((4, 10), np.float32)), np.zeros(4, np.int64))
    return made


def test_a_metric_that_raises_is_named_with_the_batch():
    wanted = r"metric 'odd' \(.*test_isolation\.Odd\) failed in update with the batch of 4 samples after 0 others .*"
    with pytest.raises(PluginError, match=wanted + r"outputs \[4, 10\] float32, targets \[4\] int64\): IndexError: 9"):
        meter(error=IndexError(9))


@pytest.mark.parametrize("value", [None, "0.5", [1, 2], 1j])
def test_a_metric_whose_value_is_no_number_is_named(value):
    with pytest.raises(PluginError, match=r"metric 'odd' .* failed in compute after 4 samples: TypeError"):
        meter(value=value).compute()


def test_nan_is_a_value():
    assert math.isnan(meter(value=math.nan).compute()["odd"])


def test_a_mistake_that_a_metric_explains_is_shown_as_it_is():
    with pytest.raises(ConfigError, match=r"^odd needs classes$"):
        meter(error=ConfigError("odd needs classes"))
