from __future__ import annotations

import json
from functools import partial

import pytest

from expkit.component import Component
from expkit.config import compose
from expkit.errors import ConfigError, DataError, ExpkitError


def component(function, **options):
    return Component("model", "cube", f"{__name__}.Cube", options, lambda: partial(function, **options))


def test_only_what_the_signature_names_is_supplied():
    def cube(spec, *, size=1):
        return spec, size

    assert component(cube, size=3).build(spec="the spec", parameters="not asked for") == ("the spec", 3)


def test_a_supplied_value_outranks_the_option_of_the_same_name():
    def adam(parameters, *, learning_rate=0.1):
        return learning_rate

    assert component(adam, learning_rate=0.5).build(parameters=[], learning_rate="schedule") == "schedule"


def test_options_that_do_not_fit_name_the_component_and_the_target():
    with pytest.raises(ConfigError, match=r"model 'cube': .*Cube does not take the options {'sise': 3}"):
        component(lambda spec, size=1: None, sise=3).build(spec=None)


def test_a_refused_value_is_the_users_mistake():
    def cube(size):
        raise ValueError("must be a cube")

    with pytest.raises(ConfigError, match=r"model 'cube' refused its options {'size': 2}: must be a cube") as caught:
        component(cube, size=2).build()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_components_own_error_passes_as_it_is():
    def cube():
        raise DataError("no file")

    with pytest.raises(DataError, match=r"^no file$"):
        component(cube).build()


def test_an_import_that_leaves_python_is_told_with_the_component(tmp_path, monkeypatch):
    (tmp_path / "leaving_net.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExpkitError, match=r"leaving_net\.Net cannot be loaded: .*ends the process, by SystemExit: 3"):
        compose(["+experiment=mnist_cnn", "model._target_=leaving_net.Net"]).model.build()


def test_a_crash_stays_a_crash():
    def cube():
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        component(cube).build()


def test_a_bug_below_a_component_is_not_blamed_on_its_options():
    def cube(size):
        return int("not a number".strip()) if json.loads("{") else size

    with pytest.raises(json.JSONDecodeError):  # a ValueError of another module
        component(cube, size=2).build()


class Own:
    """A class of the user's own that takes the place of `mlp`."""

    def __init__(self, spec, *, dropout=0.5):
        self.spec, self.dropout = spec, dropout


OWN = ("dataset=digits", "model=mlp", f"model._target_={__name__}.Own")


def test_a_class_in_the_place_of_another_is_not_given_the_options_that_came_with_it():
    assert compose(OWN).model.build(spec="the spec").dropout == 0.0  # mlp's default: this one both know


def test_an_option_that_the_user_typed_is_never_left_out():
    model = compose([*OWN, "model.hidden=[8]"]).model
    with pytest.raises(ConfigError, match="does not take the options"):
        model.build(spec="the spec")


def test_options_that_an_experiment_has_ready_for_what_was_not_chosen_wait():
    config = compose(["+experiment=mnist_cnn_augmented", "transforms=[rotate,cutmix]"])
    assert list(config.transforms) == ["rotate", "cutmix"]
    assert config.transforms["cutmix"].options["probability"] == 0.15


def test_an_option_that_the_user_sets_for_what_was_not_chosen_is_refused():
    with pytest.raises(ConfigError, match=r"transform 'cutmix' is not chosen\. Add it to transforms="):
        compose(["+experiment=mnist_cnn_augmented", "transforms=[rotate]", "transforms.cutmix.probability=1"])
