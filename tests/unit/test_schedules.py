import importlib
import inspect
import json
import os

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


DIRECTIONS = {"train/loss": False, "valid/loss": False, "valid/accuracy": True}
TRAINING = {"learning_rate": 0.1, "steps_per_epoch": 2, "epochs": 4, "higher_is_better": DIRECTIONS}
WARMED = ["cosine", "polynomial", "step", "multi_step", "piecewise", "exponential", "inverse_time", "linear_warmup"]
STEPPED = [*WARMED, "noam", "one_cycle"]


def schedule(name, **options):
    made = getattr(importlib.import_module(f"expkit_schedules.{name}"), name)
    supplied = {key: value for key, value in TRAINING.items() if key in inspect.signature(made).parameters}
    return made(**{**supplied, **options})


def rates(scheduler, steps=8):
    seen = []
    for _ in range(steps):
        seen.append(scheduler())
        scheduler.step()
    return seen


def rates_along(scheduler, values):
    """Rates after an epoch with each value."""
    seen = []
    for value in values:
        scheduler.step(value)
        seen.append(scheduler())
    return seen


def test_constant_is_the_number_itself():
    assert schedule("constant") == 0.1


def test_polynomial_falls_on_a_line_to_its_end():
    # 0.1 to 0.02 in eight steps: 0.01 each; the ninth value would be the end.
    expected = [0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02]
    assert rates(schedule("polynomial", end=0.2), 10) == pytest.approx(expected)


def test_polynomial_of_power_two():
    assert rates(schedule("polynomial", end=0.0, power=2.0))[4] == pytest.approx(0.1 * (1 - 4 / 8) ** 2)


def test_polynomial_falls_after_its_warm_up():
    # Two steps up, then six down to 0.04.
    expected = [0.05, 0.1, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04]
    assert rates(schedule("polynomial", end=0.4, warmup=1.0), 9) == pytest.approx(expected)


def test_cosine_is_half_way_down_in_the_middle_and_stays_at_its_end():
    seen = rates(schedule("cosine", end=0.2), 12)
    assert seen[0] == 0.1
    assert seen[4] == pytest.approx(0.06)
    assert seen[8:] == pytest.approx([0.02] * 4)
    assert seen[:9] == sorted(seen[:9], reverse=True)


@pytest.mark.parametrize("name", ["cosine", "linear_warmup", "multi_step", "piecewise"])
def test_warm_up_rises_on_a_line(name):
    # 1.5 epochs are 3 steps.
    assert rates(schedule(name, warmup=1.5))[:4] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1])


def test_linear_warmup_stays_at_the_top():
    assert rates(schedule("linear_warmup")) == pytest.approx([0.05] + [0.1] * 7)


def test_step_falls_every_few_epochs():
    scheduler = schedule("step", learning_rate=0.8, every=2, factor=0.5)
    assert rates(scheduler, 9) == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2])


def test_step_is_multiplied_by_its_warm_up():
    # Four steps of warm-up; the first fall, after two, is counted from the beginning.
    scheduler = schedule("step", learning_rate=0.8, warmup=2.0)
    assert rates(scheduler, 6) == pytest.approx([0.2, 0.4, 0.3, 0.4, 0.2, 0.2])


def test_multi_step_falls_at_its_milestones():
    scheduler = schedule("multi_step", milestones=[1.0, 2.5, 9.0], factor=0.5)
    assert rates(scheduler) == pytest.approx([0.1] * 2 + [0.05] * 3 + [0.025] * 3)


def test_piecewise_takes_each_value_in_turn():
    scheduler = schedule("piecewise", boundaries=[1, 2.5], values=[0.5, 2.0, 0.1])
    assert rates(scheduler) == pytest.approx([0.05] * 2 + [0.2] * 3 + [0.01] * 3)


def test_exponential_falls_at_the_end_of_each_epoch_or_with_each_step():
    assert rates(schedule("exponential", factor=0.25), 5) == pytest.approx([0.1] * 2 + [0.025] * 2 + [0.00625])
    assert rates(schedule("exponential", factor=0.25, smooth=True), 4) == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_inverse_time_halves_and_thirds():
    assert rates(schedule("inverse_time"), 5) == pytest.approx([0.1] * 2 + [0.05] * 2 + [0.1 / 3])
    assert rates(schedule("inverse_time", speed=2.0, smooth=True), 3) == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_noam_has_the_papers_rates():
    # d_model 4 and 4 steps: 4^-0.5 * n * 4^-1.5 = n / 16 up to step 4, then 1 / (2 sqrt(n)).
    seen = rates(schedule("noam", learning_rate=1.0, d_model=4, warmup_steps=4), 16)
    assert seen[:5] == pytest.approx([1 / 16, 2 / 16, 3 / 16, 4 / 16, 0.5 / 5**0.5])
    assert seen[15] == pytest.approx(0.5 / 16**0.5)


def test_noam_without_a_width_rises_to_the_optimizers_rate():
    seen = rates(schedule("noam", warmup_steps=2))
    assert seen == pytest.approx([0.05, 0.1, *[0.1 * (2 / n) ** 0.5 for n in range(3, 9)]])


def test_one_cycle_rises_and_falls_on_lines():
    # Eight steps, numbered 0 to 7: up in 2, down in 5.
    seen = rates(schedule("one_cycle", rise=0.25, start=0.5, end=0.0, shape="linear"), 9)
    assert seen == pytest.approx([0.05, 0.075, 0.1, 0.08, 0.06, 0.04, 0.02, 0.0, 0.0])


def test_one_cycle_of_smith_comes_back_to_its_start_first():
    seen = rates(schedule("one_cycle", rise=0.25, start=0.5, end=0.2, shape="linear", three_phase=True))
    assert seen == pytest.approx([0.05, 0.075, 0.1, 0.075, 0.05, 0.04, 0.03, 0.02])


def test_one_cycle_of_cosines_meets_the_same_points():
    seen = rates(schedule("one_cycle", rise=0.25, start=0.5, end=0.0))
    assert seen[:3] == pytest.approx([0.05, 0.075, 0.1])
    assert seen[7] == 0.0
    assert 0.08 < seen[3] < 0.1


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_cycle_of_a_step_or_two_has_rates(epochs):
    assert min(rates(schedule("one_cycle", steps_per_epoch=1, epochs=epochs), epochs + 1)) > 0


def test_plateau_falls_after_more_bad_epochs_than_patience_allows():
    scheduler = schedule("reduce_on_plateau", factor=0.5, patience=1)
    assert scheduler.metric == "valid/loss"
    assert rates_along(scheduler, [1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9]) == [0.1] * 4 + [0.05] * 2 + [0.025]


def test_plateau_counts_nothing_while_it_cools_down():
    scheduler = schedule("reduce_on_plateau", factor=0.5, patience=0, cooldown=2)
    assert rates_along(scheduler, [1.0] * 6) == [0.1, 0.05, 0.05, 0.05, 0.025, 0.025]


def test_plateau_stops_at_its_end():
    scheduler = schedule("reduce_on_plateau", factor=0.1, patience=0, end=0.05)
    assert rates_along(scheduler, [1.0] * 4) == pytest.approx([0.1, 0.01, 0.005, 0.005])


@pytest.mark.parametrize(
    ("options", "better"),
    [
        ({"metric": "valid/loss"}, [3.0, 2.0, 1.0]),
        ({"metric": "valid/accuracy"}, [1.0, 2.0, 3.0]),
        ({"metric": "valid/loss", "mode": "max"}, [1.0, 2.0, 3.0]),
        ({"metric": "valid/accuracy", "mode": "min"}, [3.0, 2.0, 1.0]),
    ],
)
def test_plateau_takes_the_metrics_direction_unless_one_is_chosen(options, better):
    assert rates_along(schedule("reduce_on_plateau", patience=0, **options), better) == [0.1] * 3
    falling = rates_along(schedule("reduce_on_plateau", patience=0, **options), better[::-1])
    assert falling == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_asks_for_an_improvement_by_the_threshold_of_negative_values_too(mode):
    sign = 1 if mode == "max" else -1
    values = [-10.0, -10.0 + sign * 0.9, -10.0 + sign * 1.1]
    scheduler = schedule("reduce_on_plateau", mode=mode, patience=0, factor=0.5, threshold=0.1)
    assert rates_along(scheduler, values) == [0.1, 0.05, 0.05]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_takes_a_value_that_is_no_number_for_the_worst(mode):
    nan = float("nan")
    scheduler = schedule("reduce_on_plateau", mode=mode, patience=0, factor=0.5)
    assert rates_along(scheduler, [nan, 1.0, nan, 1.0]) == [0.1, 0.1, 0.05, 0.025]
    assert scheduler.best == 1.0


@pytest.mark.parametrize("name", STEPPED)
def test_a_schedule_goes_on_from_its_state_as_json(name):
    whole, half, resumed = schedule(name), schedule(name), schedule(name)
    rates(half, 5)
    resumed.set_state_dict(json.loads(json.dumps(half.state_dict())))
    assert rates(resumed, 4) == rates(whole, 9)[5:]


def test_a_plateau_goes_on_from_its_state_as_json():
    values = [1.0, 1.0, 0.5, 0.6, 0.6, 0.4, 0.5, 0.5]
    options = {"factor": 0.5, "patience": 1, "cooldown": 1}
    whole, half, resumed = (schedule("reduce_on_plateau", **options) for _ in range(3))
    rates_along(half, values[:4])
    resumed.set_state_dict(json.loads(json.dumps(half.state_dict())))
    assert rates_along(resumed, values[4:]) == rates_along(whole, values)[4:] == [0.05, 0.05, 0.05, 0.025]


@pytest.mark.parametrize("name", ["constant", *STEPPED, "reduce_on_plateau"])
def test_rate_out_of_range_is_refused(name):
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate=-1\.0: must be a number above 0"):
        schedule(name, learning_rate=-1.0)


@pytest.mark.parametrize("name", WARMED)
@pytest.mark.parametrize("warmup", [-0.5, 4.0, float("nan")])
def test_warm_up_out_of_range_is_refused(name, warmup):
    with pytest.raises(ConfigError, match=rf"schedule\.warmup={warmup}: must be from 0 to below trainer\.epochs=4"):
        schedule(name, warmup=warmup)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("polynomial", {"end": 1.5}, r"schedule\.end=1\.5: must be from 0 to 1"),
        ("polynomial", {"power": 0.0}, r"schedule\.power=0\.0: must be a number above 0"),
        ("cosine", {"end": float("nan")}, r"schedule\.end=nan"),
        ("step", {"every": 0}, r"schedule\.every=0: must be 1 epoch or more"),
        ("step", {"factor": 1.0}, r"schedule\.factor=1\.0: must be above 0 and below 1"),
        ("multi_step", {"factor": 0.0}, r"schedule\.factor=0\.0: must be above 0 and below 1"),
        ("multi_step", {"milestones": []}, r"schedule\.milestones=\[\]: give epochs above 0"),
        ("multi_step", {"milestones": [0, 1]}, r"schedule\.milestones=\[0, 1\]: give epochs above 0"),
        ("multi_step", {"milestones": [2, 1]}, r"each later than the one before, such as \[30,60\]"),
        ("multi_step", {"milestones": [1, float("nan")]}, r"schedule\.milestones=\[1, nan\]"),
        ("piecewise", {"boundaries": [2, 2]}, r"schedule\.boundaries=\[2, 2\]: give epochs above 0"),
        ("piecewise", {"boundaries": [2]}, r"1 boundaries part the training into 2; give one value for each"),
        ("piecewise", {"values": [1, 0.1, 0]}, r"schedule\.values=0: must be a number above 0"),
        ("exponential", {"factor": 1.5}, r"schedule\.factor=1\.5: must be above 0 and below 1"),
        ("inverse_time", {"speed": 0.0}, r"schedule\.speed=0\.0: must be a number above 0"),
        ("noam", {"warmup_steps": 0}, r"schedule\.warmup_steps=0: must be 1 step or more"),
        ("noam", {"d_model": 0}, r"schedule\.d_model=0: must be 1 unit or more"),
        ("one_cycle", {"rise": 1.0}, r"schedule\.rise=1\.0: must be above 0 and below 1, a share of the training"),
        ("one_cycle", {"rise": 0.5, "three_phase": True}, r"schedule\.rise=0\.5: must be above 0 and below 0\.5"),
        ("one_cycle", {"start": -0.1}, r"schedule\.start=-0\.1: must be from 0 to 1"),
        ("one_cycle", {"shape": "cos"}, r"schedule\.shape='cos': must be cosine or linear"),
        ("reduce_on_plateau", {"mode": "low"}, r"schedule\.mode='low': must be auto, min or max"),
        ("reduce_on_plateau", {"factor": 1.0}, r"schedule\.factor=1\.0: must be above 0 and below 1"),
        ("reduce_on_plateau", {"patience": -1}, r"schedule\.patience=-1: must be 0 epochs or more"),
        ("reduce_on_plateau", {"cooldown": -1}, r"schedule\.cooldown=-1: must be 0 epochs or more"),
        ("reduce_on_plateau", {"threshold": 1.0}, r"schedule\.threshold=1\.0: must be from 0 to below 1"),
        ("reduce_on_plateau", {"end": 2.0}, r"schedule\.end=2\.0: must be from 0 to 1"),
        ("reduce_on_plateau", {"metric": "acc"}, r"schedule\.metric='acc' is not measured.*Measured are train/loss,"),
        ("reduce_on_plateau", {"metric": "valid/acuracy"}, r"Did you mean 'valid/accuracy'"),
    ],
)
def test_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        schedule(name, **options)
