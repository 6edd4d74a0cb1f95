import os

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


TRAINING = {"learning_rate": 0.1, "steps_per_epoch": 2, "epochs": 4}


def schedule(name, **options):
    import importlib

    return getattr(importlib.import_module(f"expkit_schedules.{name}"), name)(**{**TRAINING, **options})


def rates(scheduler, steps=8):
    seen = []
    for _ in range(steps):
        seen.append(scheduler())
        scheduler.step()
    return seen


def test_constant_is_the_number_itself():
    from expkit_schedules.constant import constant

    assert constant(learning_rate=0.1) == 0.1


def test_polynomial_falls_on_a_line_to_its_end():
    # 0.1 to 0.02 in eight steps: 0.01 each; the ninth value would be the end.
    expected = [0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02]
    assert rates(schedule("polynomial", end=0.2), 10) == pytest.approx(expected)


def test_polynomial_of_power_two():
    assert rates(schedule("polynomial", end=0.0, power=2.0))[4] == pytest.approx(0.1 * (1 - 4 / 8) ** 2)


def test_cosine_is_half_way_down_in_the_middle_and_stays_at_its_end():
    seen = rates(schedule("cosine", end=0.2), 12)
    assert seen[0] == 0.1
    assert seen[4] == pytest.approx(0.06)
    assert seen[8:] == pytest.approx([0.02] * 4)
    assert seen[:9] == sorted(seen[:9], reverse=True)


def test_cosine_warms_up_on_a_line():
    # 1.5 epochs are 3 steps.
    assert rates(schedule("cosine", warmup=1.5))[:4] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1])


def test_step_falls_every_few_epochs():
    from expkit_schedules.step import step

    scheduler = step(learning_rate=0.8, steps_per_epoch=2, every=2, factor=0.5)
    assert rates(scheduler, 9) == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("polynomial", {"end": 1.5}, r"schedule\.end=1\.5: must be from 0 to 1"),
        ("polynomial", {"power": 0.0}, r"schedule\.power=0\.0: must be a number above 0"),
        ("polynomial", {"learning_rate": -1.0}, r"optimizer\.learning_rate=-1\.0: must be a number above 0"),
        ("cosine", {"warmup": 4.0}, r"schedule\.warmup=4\.0: must be from 0 to below trainer\.epochs=4"),
        ("cosine", {"end": float("nan")}, r"schedule\.end=nan"),
    ],
)
def test_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        schedule(name, **options)


@pytest.mark.parametrize(("options", "message"), [({"every": 0}, "every=0"), ({"factor": 1.0}, r"factor=1\.0")])
def test_step_option_out_of_range_is_refused(options, message):
    from expkit_schedules.step import step

    with pytest.raises(ConfigError, match=message):
        step(learning_rate=0.1, steps_per_epoch=2, **options)
