from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from expkit.api import ConfigError, EpochEnd, FitEnd, FitStart, LearnerState
from expkit.testing import example_specs
from expkit_callbacks._figures import spaced
from expkit_callbacks.weight_norms import WeightNorms, measure

SPEC = example_specs()[0]


class FakeLearner:
    """Of any engine: all that is asked of it is its state."""

    def __init__(self, **weights):
        self.weights = {name: np.array(values, np.float64) for name, values in weights.items()}

    def state_dict(self):
        return LearnerState(self.weights, {})


def train(callback, learner, folder, *, epochs=3, first=1, status="finished", change=None):
    """Tell the callback of a training; `change` does something to the weights in each epoch. Returns what it logged."""
    logged = []
    log = lambda values, step: logged.append((step, dict(values)))  # noqa: E731 - short, and used once
    callback.on_fit_start(FitStart(SPEC, epochs, 10, 10 * (first - 1), folder, {}, learner=learner, log=log))
    for epoch in range(first, epochs + 1):
        if change:
            change(learner.weights)
        callback.on_epoch_end(EpochEnd(epoch, 10 * epoch, {}, False, 0.1, print))
    callback.on_fit_end(FitEnd(status, "", epochs, 10 * epochs))
    return logged


def test_norms_and_shares_by_hand():
    weights = {"a.weight": np.array([[3.0, 0.0], [0.0, -4.0]]), "a.bias": np.array([12.0])}
    assert measure(weights, 2, 1e-3) == {
        "weights/a.weight": 5.0,
        "weights/a.bias": 12.0,
        "weights/all": 13.0,
        "sparsity/a.weight": 0.5,
        "sparsity/a.bias": 0.0,
        "sparsity/all": 0.4,
    }
    first = measure(weights, 1, 3.0)
    assert (first["weights/a.weight"], first["weights/all"], first["sparsity/a.weight"]) == (7.0, 19.0, 0.75)


def test_values_are_logged_at_the_start_and_after_each_epoch(tmp_path):
    def halve(weights):
        weights["w"] = weights["w"] / 2

    logged = train(WeightNorms(), FakeLearner(w=[8.0, 0.0]), tmp_path, change=halve)
    assert [(step, values["weights/w"]) for step, values in logged] == [(0, 8.0), (10, 4.0), (20, 2.0), (30, 1.0)]
    assert {values["sparsity/all"] for _, values in logged} == {0.5}


def test_every_skips_epochs_but_not_the_last(tmp_path):
    logged = train(WeightNorms(every=2), FakeLearner(w=[1.0]), tmp_path, epochs=5)
    assert [step for step, _ in logged] == [0, 20, 40, 50]


def test_what_is_not_trained_is_left_out(tmp_path):
    learner = FakeLearner(w=[3.0], mean=[100.0])
    moving, still = SimpleNamespace(stop_gradient=False), SimpleNamespace(stop_gradient=True)
    learner.model = SimpleNamespace(named_parameters=lambda: [("w", moving), ("mean", still)])
    (_, values), *_ = train(WeightNorms(), learner, tmp_path)
    assert values == {"weights/w": 3.0, "weights/all": 3.0, "sparsity/w": 0.0, "sparsity/all": 0.0}


@pytest.mark.parametrize("many", [1, 3, 40])
@pytest.mark.parametrize("order", [1, 2])
def test_the_picture(tmp_path, many, order):
    weights = {f"blocks.{n}.a_rather_long_name.weight": [float(n % 3), 1.0] for n in range(many)}
    train(WeightNorms(order=order), FakeLearner(**weights), tmp_path)
    with Image.open(tmp_path / "plots" / "weight_norms.png") as picture:
        assert picture.size == (1380, 528)


@pytest.mark.parametrize("status", ["interrupted", "paused"])
def test_a_resumed_run_draws_all_its_epochs(tmp_path, status):
    first, second = WeightNorms(), WeightNorms()
    train(first, FakeLearner(w=[1.0]), tmp_path, epochs=2, status=status)
    assert not (tmp_path / "plots").exists()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    train(second, FakeLearner(w=[1.0]), tmp_path, epochs=4, first=3)
    assert second.state_dict()["epochs"] == [0, 1, 2, 3, 4]
    assert (tmp_path / "plots" / "weight_norms.png").is_file()


@pytest.mark.parametrize(("option", "value"), [("every", 0), ("order", 3), ("near_zero", -1.0)])
def test_option_out_of_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=rf"callbacks\.weight_norms\.{option}={value}"):
        WeightNorms(**{option: value})


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([3.0], [3.0]),
        ([0.0, 50.0, 100.0], [0.0, 50.0, 100.0]),
        ([50.0, 50.0], [45.0, 55.0]),
        ([0.0, 0.0, 1.0], [0.0, 10.0, 20.0]),
        ([99.0, 100.0], [90.0, 100.0]),
    ],
)
def test_labels_are_moved_apart_as_little_as_possible(places, expected):
    assert spaced(places, 10.0, 100.0) == expected
