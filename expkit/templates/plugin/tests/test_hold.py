import pytest
from expkit.api import ConfigError
from expkit.testing import check_schedule

from plugin_name.hold import hold


def test_it_keeps_the_promises_of_a_schedule():
    check_schedule(hold)


def test_it_rises_holds_and_falls():
    schedule = hold(0.5, steps_per_epoch=2, epochs=5, warmup=0.2, decay=0.4)
    rates = []
    for _ in range(10):
        rates.append(schedule())
        schedule.step()
    expected = [0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.375, 0.25, 0.125]
    assert rates == pytest.approx(expected)


def test_shares_that_overlap_are_refused():
    with pytest.raises(ConfigError, match="must be at most 1 together"):
        hold(0.1, 10, 2, warmup=0.6, decay=0.6)
