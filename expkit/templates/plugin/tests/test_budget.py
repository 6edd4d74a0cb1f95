import pytest
from expkit.api import ConfigError, EpochEnd
from expkit.testing import check_callback

from plugin_name.budget import TimeBudget


def test_it_keeps_the_promises_of_a_callback():
    check_callback(TimeBudget)


def test_it_ends_training_before_the_epoch_that_does_not_fit():
    budget, reasons = TimeBudget(minutes=1.0), []
    for epoch in (1, 2, 3):
        budget.on_epoch_end(
            EpochEnd(epoch=epoch, step=epoch, metrics={}, is_best=False, seconds=25.0, stop=reasons.append)
        )
        if reasons:
            break
    assert epoch == 2
    assert reasons == ["0.8 of 1 minutes are used, and another epoch would not fit"]


def test_no_time_is_refused():
    with pytest.raises(ConfigError, match="minutes=0: must be above 0"):
        TimeBudget(minutes=0)
