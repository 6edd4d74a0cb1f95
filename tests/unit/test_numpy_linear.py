import json
from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit.api import (
    Classes,
    ConfigError,
    DataSource,
    DataSpec,
    LearnerState,
    NotFiniteError,
    TableInput,
    Values,
)
from expkit.testing import example_specs
from expkit_learners.numpy_linear import NumpyLinear
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.squared_error import SquaredError
from expkit_regularizers.none import NoRegularizer

HOUSES = ("CRIM", "RM", "LSTAT")


def table(columns=HOUSES, outputs=1, precision="float64"):
    zeros, ones = (0.0,) * 9, (1.0,) * 9
    count = len(columns)
    return DataSpec(
        "houses",
        TableInput(columns, zeros[:count], ones[:count], precision),
        Values(tuple("yzuv"[:outputs]), zeros[:outputs], ones[:outputs], precision=precision),
        DataSource("generated", "tests"),
        "0" * 64,
    )


class Parts:
    """What a learner asks for; half the squared error is what the textbook's gradient belongs to."""

    epochs, steps_per_epoch, seed, device, tune, to_static = 1, 1, 0, "cpu", False, False
    team, engine = None, "paddle"

    def __init__(self, spec=None, **changes):
        self.spec = spec or table()
        self.__dict__.update(changes)

    def model(self):
        layer = nn.Linear(self.spec.input_shape[0], self.spec.outputs)
        layer.to(dtype=self.spec.input_dtype)
        return layer

    def loss(self):
        compare = SquaredError(self.spec)
        return lambda outputs, targets: compare(outputs, targets) / 2

    def regularizer(self):
        return NoRegularizer()

    def optimizer(self, parameters):
        return paddle.optimizer.SGD(0.1, parameters=parameters)


def learner(spec=None, **options):
    return NumpyLinear(Parts(spec), **options)


def batch(size=8, features=3, outputs=1, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(size, features)), random.normal(size=(size, outputs))


def weights(trained):
    return {name: array.ravel().tolist() for name, array in trained.state_dict().model.items()}


def test_a_step_is_the_one_that_pencil_and_paper_give():
    trained = learner(table(("a", "b")), learning_rate=0.5, initial={"a": 1.0, "b": -1.0, "bias": 0.5})
    x, y = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.5], [1.5]])
    result = trained.train_step(x, y)
    # Answers 1 - 2 + 0.5 = -0.5 and 3 + 0.5 = 3.5; errors -1 and 2; squares 1 and 4.
    assert result.outputs.tolist() == [[-0.5], [3.5]]
    assert result.loss == 2.5
    # Gradients: a (-1 + 6) / 2, b (-2 + 0) / 2, bias (-1 + 2) / 2; half of each is taken away.
    assert weights(trained) == {"weight": [1 - 1.25, -1 + 0.5], "bias": [0.5 - 0.25]}


def test_the_loss_is_that_before_the_update():
    trained = learner()
    x, y = batch()
    before = trained.eval_step(x, y).loss
    assert trained.train_step(x, y).loss == before
    assert trained.eval_step(x, y).loss < before


def test_weights_start_as_in_the_textbook_and_leave_the_global_generator_alone():
    np.random.seed(0)
    textbook, state = np.random.randn(3, 1).ravel().tolist(), np.random.get_state()[1].tolist()
    assert weights(learner()) == {"weight": textbook, "bias": [0.0]}
    assert np.random.get_state()[1].tolist() == state
    assert weights(learner(init_seed=1))["weight"] == np.random.RandomState(1).randn(3).tolist() != textbook


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_gradient_by_hand_is_the_one_that_paddle_finds(outputs):
    spec = table(outputs=outputs)
    by_hand, by_paddle = learner(spec, learning_rate=0.1), PaddleLearner(Parts(spec))
    by_paddle.load_state_dict(LearnerState(by_hand.state_dict().model, {}))
    for step in range(20):
        x, y = batch(outputs=outputs, seed=step)
        one, other = by_hand.train_step(x, y), by_paddle.train_step(x, y)
        assert one.loss == pytest.approx(2 * other.loss, rel=1e-12)
        for name, array in by_hand.state_dict().model.items():
            np.testing.assert_allclose(array, by_paddle.state_dict().model[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("names", [["w1", "w2"], ["1", "2"], ["LSTAT", "RM"], ["w1", "2", "RM"]])
def test_only_the_named_weights_move(names):
    trained, free = learner(trainable=names), learner()
    x, y = batch()
    trained.train_step(x, y)
    free.train_step(x, y)
    start, some, every = (weights(one) for one in (learner(), trained, free))
    assert some == {"weight": [start["weight"][0], *every["weight"][1:]], "bias": [0.0]}
    assert trained.summary() == {"parameters": 2}
    assert free.summary() == {"parameters": 4}


def test_the_bias_can_be_all_that_moves():
    trained = learner(trainable=["bias"], learning_rate=1.0)
    x, y = batch()
    start = weights(trained)["weight"]
    trained.train_step(x, y)
    assert weights(trained)["weight"] == start
    # A full step takes away the mean error.
    assert (trained.predict(x) - y).mean() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("initial", [{"w1": -100}, {"1": -100.0}, {"RM": -100.0}])
def test_start_values_are_given_by_name(initial):
    drawn = weights(learner())["weight"]
    assert weights(learner(initial=initial))["weight"] == [drawn[0], -100.0, drawn[2]]


def test_a_name_stands_for_the_weights_to_all_outputs():
    trained = learner(table(outputs=2), initial={"RM": 7.0, "bias": 1.0}, trainable=["RM"])
    assert weights(trained) == {
        "weight": [*weights(trained)["weight"][:2], 7.0, 7.0, *weights(trained)["weight"][4:]],
        "bias": [1, 1],
    }
    assert trained.summary() == {"parameters": 2}


def test_the_exact_solution_is_found_in_one_step():
    trained = learner(method="exact")
    x, _ = batch()
    assert trained.train_step(x, x @ [[1.0], [2.0], [3.0]] + 4).loss == pytest.approx(0, abs=1e-24)
    np.testing.assert_allclose(weights(trained)["weight"] + weights(trained)["bias"], [1, 2, 3, 4], rtol=1e-12)
    assert trained.learning_rate == 0.0


def test_no_step_improves_the_exact_solution():
    exact, walker = learner(method="exact"), learner()
    x, y = batch()
    exact.train_step(x, y)
    walker.load_state_dict(LearnerState(exact.state_dict().model, {}))
    walker.train_step(x, y)
    for name, array in exact.state_dict().model.items():
        np.testing.assert_allclose(walker.state_dict().model[name], array, atol=1e-15)


def test_the_exact_solution_moves_only_what_it_may():
    trained = learner(method="exact", trainable=["RM"], initial={"CRIM": 1.0, "RM": 9.0, "LSTAT": 3.0, "bias": 4.0})
    x, _ = batch()
    trained.train_step(x, x @ [[1.0], [2.0], [3.0]] + 4)
    assert trained.state_dict().model["weight"].ravel().tolist() == pytest.approx([1, 2, 3], rel=1e-12)


def test_of_many_exact_solutions_the_shortest_is_taken():
    trained = learner(table(("a", "same")), method="exact", trainable=["a", "same"])
    x = np.array([[1.0], [2.0], [3.0]])
    trained.train_step(np.hstack([x, x]), 4 * x)
    assert weights(trained)["weight"] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_computes_in_the_precision_of_the_data(precision, tmp_path):
    spec = table(precision=precision)
    x, y = (array.astype(precision) for array in batch())
    for method in ("gradient", "exact"):
        trained = learner(spec, method=method)
        assert trained.train_step(x, y).outputs.dtype == precision
        assert {array.dtype for array in trained.state_dict().model.values()} == {np.dtype(precision)}
        assert trained.export(tmp_path)(x).dtype == precision


def test_what_is_exported_is_a_layer_of_paddle_with_these_weights(tmp_path):
    trained = learner(table(outputs=2))
    x, y = batch(outputs=2)
    trained.train_step(x, y)
    answer, wanted = trained.export(tmp_path), trained.predict(x)
    trained.train_step(x, y)
    np.testing.assert_allclose(answer(x), wanted, rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.pdiparams"]


def test_the_state_says_by_which_method_it_was_found():
    trained = learner()
    state = trained.state_dict()
    assert json.loads(json.dumps(state.extra)) == {"method": "gradient"}
    with pytest.raises(ConfigError, match=r"the saved state is that of method=gradient, but learner.method=exact"):
        learner(method="exact").load_state_dict(state)


def test_a_state_of_another_model_is_refused_and_changes_nothing():
    trained = learner()
    before = weights(trained)
    message = r"another model: weight \[4, 1\], bias \[1\] saved, weight \[3, 1\], bias \[1\] here"
    with pytest.raises(ConfigError, match=message):
        trained.load_state_dict(learner(table(tuple("abcd"))).state_dict())
    with pytest.raises(ConfigError, match=r"another model: nothing saved, weight \[3, 1\]"):
        trained.load_state_dict(LearnerState({}, {}))
    assert weights(trained) == before


def test_a_rate_that_is_too_large_ends_in_words_and_not_in_warnings():
    trained = learner(learning_rate=1e6)
    with pytest.raises(NotFiniteError, match=r"the loss is inf\."):
        for _ in range(100):
            before = weights(trained)
            trained.train_step(*batch())
    assert weights(trained) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"trainable": ["w3"]},
            r"trainable: there is no weight 'w3'\. Known: w0, w1, w2, bias, CRIM, RM, LSTAT\.",
        ),
        ({"trainable": ["rm", "LSAT"]}, "there is no weight 'rm'. Known: w0"),
        ({"initial": {"LSAT": 1.0}}, "learner.initial: there is no weight 'LSAT'. Did you mean 'LSTAT'"),
        ({"initial": {"w0": float("nan")}}, "learner.initial.w0=nan: must be a finite number"),
        ({"trainable": []}, r"learner.trainable=\[\] leaves nothing to train. null trains all"),
        ({"learning_rate": 0.0}, "learner.learning_rate=0.0: must be a number above 0"),
        ({"learning_rate": float("inf")}, "learner.learning_rate=inf: must be"),
        ({"init_seed": -1}, "learner.init_seed=-1: must be from 0 to 4294967295"),
        ({"method": "newton"}, "learner.method='newton': must be gradient or exact"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        learner(**options)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            Parts(example_specs()[0]),
            "needs values to predict, but the targets of example grey images are 10 .*paddle",
        ),
        (
            Parts(replace(table(), target=Classes(("a", "b")))),
            "needs values to predict, .* of houses are 2",
        ),
        (Parts(replace(example_specs()[0], target=table().target)), r"needs the rows of a table, .* is \[1, 28, 28\]"),
        (Parts(to_static=True), "has no graph to trace. Set trainer.to_static=false"),
    ],
)
def test_what_it_is_not_made_for_is_refused(parts, message):
    with pytest.raises(ConfigError, match=message):
        NumpyLinear(parts)


def test_the_exact_solution_of_many_batches_is_refused():
    with pytest.raises(ConfigError, match=r"of 5 batches an epoch only the last would count. Make them one"):
        NumpyLinear(Parts(steps_per_epoch=5), method="exact")
