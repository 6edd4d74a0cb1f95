"""Search spaces as Hydra writes them, and the combinations that are in them."""

from __future__ import annotations

import pytest
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from expkit.cli.search_space import read
from expkit.errors import ConfigError
from expkit.settings import Settings
from expkit.sweeping.search.space import Choices, Condition, Numbers, Parameter, Space, overrides

CONFIG = OmegaConf.create(
    {
        **OmegaConf.to_container(OmegaConf.structured(Settings)),
        "optimizer": {"learning_rate": 0.001},
        "model": {"hidden": [64]},
        "hydra": {"runtime": {"choices": {"optimizer": "adam", "model": "mlp"}}},
    }
)
OmegaConf.update(CONFIG, "trainer", OmegaConf.structured(Settings).trainer)
RATE = "tag(log,interval(1e-4,1e-1))"


def space(params=None, *typed: str, conditions=None) -> Space:
    return read(params or {}, conditions or {}, typed, CONFIG).space


def domain(value: str, key: str = "optimizer.learning_rate"):
    (parameter,) = space({key: value})
    return parameter.domain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (RATE, Numbers(1e-4, 1e-1, None, log=True)),
        ("interval(0,0.5)", Numbers(0.0, 0.5)),
        ("int(interval(16,128))", Numbers(16, 128, 1, whole=True)),
        ("tag(log,int(interval(16,128)))", Numbers(16, 128, None, log=True, whole=True)),
        ("range(1,6,2)", Numbers(1, 5, 2, whole=True)),
        ("range(5,1,-1)", Numbers(2, 5, 1, whole=True)),
        ("shuffle(range(1,4))", Numbers(1, 3, 1, whole=True)),
        ("range(0.1,0.5,0.1)", Numbers(0.1, 0.4, 0.1)),
        ("range(1,2)", Choices(("1",))),
        ("sgd,adam", Choices(("sgd", "adam"))),
        ("choice([32],[64,64])", Choices(("[32]", "[64,64]"))),
        ("choice(true,false,1e-3,'a b')", Choices(("True", "False", "0.001", r"a\ b"))),
        ("sgd,adam,sgd", Choices(("sgd", "adam"))),
    ],
)
def test_what_hydra_can_sweep_can_be_searched(value, expected):
    assert domain(value) == expected


def test_the_stop_of_a_range_is_not_part_of_it_and_the_end_of_an_interval_is():
    assert domain("range(1,4)").values() == [1, 2, 3]
    assert domain("int(interval(1,4))").values() == [1, 2, 3, 4]
    assert domain("range(0.1,0.5,0.1)").values() == [0.1, 0.2, 0.3, 0.4]
    assert domain("interval(0,1)").values() is None


def test_the_command_line_goes_before_the_file():
    params = {"optimizer": "sgd,adam", "optimizer.learning_rate": RATE, "trainer.epochs": 3}
    wanted = read(params, {}, ["optimizer=lamb", "+experiment=mnist_cnn", "seed=1,2"], CONFIG)
    assert [one.key for one in wanted.space] == ["optimizer.learning_rate", "seed"]
    assert wanted.fixed == ("optimizer=lamb", "trainer.epochs=3", "+experiment=mnist_cnn")


def test_what_the_command_line_removes_or_adds_is_the_same_option():
    assert [one.key for one in space({"optimizer.nesterov": "true,false"}, "+optimizer.nesterov=false,true")] == [
        "+optimizer.nesterov"
    ]
    wanted = read({"seed": "1,2", "loss": "a,b"}, {}, ["~loss"], CONFIG)
    assert [one.key for one in wanted.space] == ["seed"]
    assert wanted.fixed == ("~loss",)


CHOSEN = {"optimizer": "sgd,momentum,nadam", "optimizer.momentum": "interval(0.5,0.99)"}


def test_an_option_may_exist_for_one_choice_only():
    found = space(CHOSEN, conditions={"optimizer.momentum": "optimizer=momentum,nadam"})
    assert found.parameters[1].when == (Condition("optimizer", ("momentum", "nadam")),)
    assert found.walk(lambda one: "sgd" if one.key == "optimizer" else 0.9) == {"optimizer": "sgd"}
    assert found.walk(lambda one: "nadam" if one.key == "optimizer" else 0.9) == {
        "optimizer": "nadam",
        "optimizer.momentum": 0.9,
    }


def test_the_order_in_which_they_are_written_does_not_matter():
    found = space(dict(reversed(CHOSEN.items())), conditions={"optimizer.momentum": "optimizer=momentum"})
    assert [one.key for one in found] == ["optimizer", "optimizer.momentum"]


def test_all_of_several_conditions_have_to_hold():
    params = {**CHOSEN, "schedule": "constant,cosine"}
    found = space(params, conditions={"optimizer.momentum": ["optimizer=momentum", "schedule=cosine"]})
    with_momentum = [one for one in _grid(found) if "optimizer.momentum" in one]
    assert {(one["optimizer"], one["schedule"]) for one in with_momentum} == {("momentum", "cosine")}


def _grid(found: Space):
    return Space(
        [
            one if isinstance(one.domain, Choices) else Parameter(one.key, Choices(("0.5",)), one.when)
            for one in found.parameters
        ]
    ).combinations()


@pytest.mark.parametrize(
    ("typed", "there"),
    [
        (["optimizer=momentum"], True),  # typed
        (["optimizer=sgd"], False),
        ([], False),  # adam, of the experiment
    ],
)
def test_what_is_chosen_once_and_for_all_decides_at_once(typed, there):
    params = {"optimizer.momentum": "interval(0.5,0.99)", "optimizer.learning_rate": RATE}
    found = space(params, *typed, conditions={"optimizer.momentum": "optimizer=momentum"})
    assert ("optimizer.momentum" in [one.key for one in found]) is there
    assert all(one.when == () for one in found)


def test_an_option_that_waits_for_one_that_is_gone_is_gone_too():
    params = {"optimizer.momentum": "0.5,0.9", "optimizer.nesterov": "true,false", "seed": "1,2"}
    found = space(
        params,
        "optimizer=adam",
        conditions={"optimizer.momentum": "optimizer=momentum", "optimizer.nesterov": "optimizer.momentum=0.9"},
    )
    assert [one.key for one in found] == ["seed"]


def test_a_condition_may_be_on_an_option_of_the_config():
    params = {"optimizer.learning_rate": RATE, "seed": "1,2"}
    assert len(space(params, conditions={"seed": "model.hidden=[64]"}).parameters) == 2
    assert len(space(params, conditions={"seed": "model.hidden=[32]"}).parameters) == 1


@pytest.mark.parametrize(
    ("params", "conditions", "message"),
    [
        ({}, {}, r"there is nothing to search"),
        ({"optimizer.learning_rate": "interval(1,0.1)"}, {}, r"from 1 to 0.1 there is no more than one number"),
        ({"optimizer.learning_rate": "tag(log,interval(0,1))"}, {}, r"only numbers above 0 have a logarithm"),
        ({"optimizer.learning_rate": "tag(lgo,interval(1,2))"}, {}, r"tag\(lgo, ...\) means nothing"),
        ({"optimizer": "tag(log,choice(a,b))"}, {}, r"tag\(log, ...\) needs numbers"),
        ({"seed": "range(3,3)"}, {}, r"range\(3,3,1\) is empty"),
        ({"optimizer.learning_rate": "tag(log,range(0.1,1,0.1))"}, {}, r"steps of 0.1 cannot be even in the logarithm"),
        ({"trainer.epochs": "interval(1,9)"}, {}, r"trainer.epochs is a whole number. Write int\(interval\(1,9\)\)"),
        ({"model.hidden": [32, 64]}, {}, r"write choice\(...\) for several values, or a list .* '\[32,64\]'"),
        (CHOSEN, {"optimizer.momentun": "optimizer=sgd"}, r"'optimizer.momentun' is not searched.* Did you mean"),
        (CHOSEN, {"optimizer.momentum": "optimizer=moment"}, r"optimizer=moment, which is never chosen. Did you mean"),
        (CHOSEN, {"optimizer.momentum": "optimiser.name=x"}, r"'optimiser.name', which is neither searched nor"),
        (CHOSEN, {"optimizer.momentum": "momentum"}, r"write what has to be chosen, such as optimizer=momentum"),
        (CHOSEN, {"optimizer": "optimizer.momentum=0.5"}, r"may be any number of a range"),
        (
            {"seed": "1,2", "optimizer": "sgd,adam"},
            {"seed": "optimizer=sgd", "optimizer": "seed=1"},
            r"seed, optimizer wait for each other",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(params, conditions, message):
    with pytest.raises(ConfigError, match=message):
        space(params, conditions=conditions)


def test_what_hydra_cannot_read_is_its_error():
    with pytest.raises(OverrideParseException):
        space({"optimizer": "choice(sgd"})


def test_a_few_corners_use_each_choice_and_the_ends_of_each_range():
    params = {**CHOSEN, "optimizer.learning_rate": RATE, "trainer.epochs": "int(interval(2,20))"}
    corners = space(params, conditions={"optimizer.momentum": "optimizer=momentum"}).corners()
    typed = {one for corner in corners for one in overrides(corner)}
    assert typed == {
        *("optimizer=sgd", "optimizer=momentum", "optimizer=nadam"),
        *("optimizer.momentum=0.5", "optimizer.momentum=0.99"),
        *("optimizer.learning_rate=0.0001", "optimizer.learning_rate=0.1", "trainer.epochs=2", "trainer.epochs=20"),
    }
    assert len(corners) == 4  # three optimizers, and the other end of the momentum
    assert all(("optimizer.momentum" in one) == (one["optimizer"] == "momentum") for one in corners)
