from __future__ import annotations

import pytest

from expkit.identity import LEFT_OUT, config_hash, differences, flat, going_on

CONFIG = {
    "name": "mine",
    "seed": 0,
    "runs_dir": "runs",
    "model": {"hidden": [16, 16], "_target_": "m.MLP"},
    "trainer": {"epochs": 3, "progress": "auto"},
    "tracking": {"tags": {"by": "me"}},
    "dataset": {"root": None, "loading": "auto"},
}


def changed(key, value):
    first, _, second = key.partition(".")
    return {**CONFIG, first: {**CONFIG[first], second: value} if second else value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("runs_dir", "elsewhere"),
        ("trainer.progress", "off"),
        ("tracking.uri", "http://there"),
        ("dataset.root", "/data"),
        ("dataset.loading", "workers"),
    ],
)
def test_what_changes_nothing_of_what_is_learned_leaves_the_hash(key, value):
    assert config_hash(changed(key, value)) == config_hash(CONFIG)
    assert differences(CONFIG, changed(key, value)) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "other"), ("seed", 1), ("model.hidden", [16, 8]), ("model._target_", "m.CNN"), ("trainer.epochs", 4)],
)
def test_all_else_changes_the_hash_and_is_named(key, value):
    assert config_hash(changed(key, value)) != config_hash(CONFIG)
    assert differences(CONFIG, changed(key, value)) == {key: (flat(CONFIG)[key], value)}


def test_an_option_that_one_of_them_does_not_have_is_a_difference():
    assert differences(CONFIG, changed("model.dropout", 0.5)) == {"model.dropout": (None, 0.5)}


def test_the_order_of_keys_is_none_of_its_business():
    assert config_hash(dict(reversed(CONFIG.items()))) == config_hash(CONFIG)


def test_the_options_that_are_left_out_exist():
    from expkit.config import compose

    resolved = flat(compose(["+experiment=mnist_mlp"]).resolved)
    missing = [name for name in LEFT_OUT if not any(key == name or key.startswith(name) for key in resolved)]
    assert missing in ([], ["trainer.auto_resume"])


def test_who_goes_on_decides_what_changes_nothing_of_what_is_learned_and_nothing_else():
    now = {
        **CONFIG,
        "seed": 5,
        "runs_dir": "elsewhere",
        "trainer": {"epochs": 9, "progress": "off", "stop_after": 2},
        "tracking": {"uri": "http://there"},
        "plots": {"mistakes": 9},
        "model": {"hidden": [4]},
    }
    assert going_on(CONFIG, now) == {
        **CONFIG,
        "runs_dir": "elsewhere",
        "trainer": {"epochs": 3, "progress": "off", "stop_after": 2},
        "tracking": {"uri": "http://there"},
        "plots": {"mistakes": 9},
    }
    assert config_hash(going_on(CONFIG, now)) == config_hash(CONFIG)
