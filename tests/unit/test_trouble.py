"""Where the first number came up that is not finite, in words and in a table."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit.inspection import find_origin, look_inside, trouble_rows, trouble_table
from expkit_losses.squared_error import SquaredError

INPUTS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
TARGETS = np.array([[1.0], [2.0]], np.float32)


class Root(nn.Layer):
    """A layer without weights whose slope at 0 is infinite."""

    def forward(self, x):
        return (x * 0).sqrt()


class Logarithm(nn.Layer):
    def forward(self, x):
        return (-x.abs()).log()


class Between(nn.Layer):
    """Spoils what its first layer answers, in its own code."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.second(self.first(x) / 0)


def named(*layers):
    return nn.Sequential(*[(name, layer) for name, layer in layers])


def seen(model, spec, inputs=INPUTS, loss=None):
    look = look_inside(model, loss or SquaredError(spec), inputs, TARGETS, output_gradients=True)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    origin = find_origin(look, inputs, TARGETS, weights)
    return origin, trouble_rows(look, origin, inputs, TARGETS, weights)


def marked(rows):
    return [(row.layer, row.what) for row in rows if row.first]


def test_a_batch_that_holds_infinity_is_said_before_anything_else(table_spec):
    inputs = np.array([[1.0, np.inf], [3.0, np.nan]], np.float32)
    origin, rows = seen(named(("a", nn.Linear(2, 1))), table_spec, inputs)
    text = "the batch itself holds NaN or infinity: 2 of its 4 inputs (samples 0, 1 of 2), counted from 0"
    assert (origin.kind, origin.text) == ("batch", text)
    assert marked(rows) == [("(batch)", "inputs")]


def test_weights_that_were_spoiled_before_are_named(table_spec):
    model = named(("a", nn.Linear(2, 3)), ("b", nn.Linear(3, 1)))
    model.b.bias.set_value(paddle.to_tensor([np.inf]))
    origin, rows = seen(model, table_spec)
    assert (origin.kind, origin.where) == ("weight", "b.bias")
    assert origin.text.startswith("1 of the 1 numbers of b.bias are NaN or infinite before the forward run")
    assert marked(rows) == [("b", "bias")]


def test_a_mask_that_is_infinite_on_purpose_is_not_to_blame(table_spec):
    model = named(("a", nn.Linear(2, 1)))
    model.a.register_buffer("mask", paddle.to_tensor([-np.inf]))
    assert seen(model, table_spec)[0].kind == "unknown"


def test_the_first_layer_is_named_and_not_those_behind_it(table_spec):
    model = named(("a", nn.Linear(2, 3)), ("root", Root()), ("log", Logarithm()), ("b", nn.Linear(3, 1)))
    origin, rows = seen(model, table_spec)
    assert (origin.kind, origin.where) == ("layer", "log")
    text = "the first layer that answers NaN or infinity is log (Logarithm), from inputs between 0 and 0"
    assert origin.text == text
    assert marked(rows) == [("log", "output")]
    lines = trouble_table(rows).splitlines()
    (line,) = (line for line in lines if line.endswith("<- the first"))
    assert line.split() == ["log", "Logarithm", "output", "nan", "nan", "0", "6", "<-", "the", "first"]
    assert not [line for line in lines if "gradient" in line]  # behind a loss that is NaN, all of them are


def test_the_code_between_layers_is_told_from_the_layers(table_spec):
    origin, rows = seen(named(("block", Between())), table_spec)
    assert origin.text == (
        "NaN or infinity comes up in the code of block (Between) itself, between the layers in it; block.second "
        "(Linear) is the first of them to answer it"
    )
    assert marked(rows) == [("block.second", "output")]


def test_a_loss_that_makes_nan_of_finite_answers_is_named(table_spec):
    model = named(("a", nn.Linear(2, 1)))
    origin, rows = seen(model, table_spec, loss=lambda outputs, targets: (outputs * 0 - 1).log().mean())
    assert origin.kind == "loss"
    assert origin.text.startswith("all layers answer finite numbers, the last ones from ")
    assert origin.text.endswith("the loss makes nan of them")
    assert marked(rows) == [("(loss)", "value")]


def test_going_backward_the_layer_that_spoils_the_gradient_is_named(table_spec):
    model = named(("a", nn.Linear(2, 3)), ("root", Root()), ("b", nn.Linear(3, 1)))
    origin, rows = seen(model, table_spec)
    text = "going backward, the gradient is finite at the output of root (Root), and NaN or infinite before it"
    assert (origin.kind, origin.where, origin.text) == ("gradient", "root", text)
    gradients = {(row.layer, row.what): row.not_finite for row in rows if "gradient" in row.what}
    assert gradients["b", "weight gradient"] == gradients["root", "output gradient"] == 0
    assert gradients["a", "weight gradient"] == 6
    assert gradients["a", "output gradient"] == 6
    assert marked(rows) == [("a", "output gradient")]


def test_a_gradient_that_the_loss_spoils_is_the_loss_s(table_spec):
    model = named(("a", nn.Linear(2, 1)))
    origin, _ = seen(model, table_spec, loss=lambda outputs, targets: (outputs * 0).sqrt().mean())
    assert origin.text == "the loss is finite, but its gradient at the output of a (Linear) is NaN or infinite"


def test_a_step_that_is_finite_is_said_to_be(table_spec):
    origin, rows = seen(named(("a", nn.Linear(2, 1))), table_spec)
    assert (origin.kind, marked(rows)) == ("unknown", [])


def test_without_layers_batch_and_weights_are_judged():
    weights = {"weight": np.array([[1e200], [-3e200]]), "bias": np.array([np.nan])}
    rows = trouble_rows(None, find_origin(None, INPUTS, TARGETS, weights), INPUTS, TARGETS, weights)
    assert marked(rows) == [("", "bias")]
    text = find_origin(None, INPUTS, TARGETS, {"weight": weights["weight"]}).text
    assert text.startswith("batch and weights are finite, the weights up to 3e+200; the learner shows no layers")


@pytest.mark.filterwarnings("error")
def test_numbers_whose_squares_are_too_large_have_a_range():
    (_, _, row) = trouble_rows(
        None, find_origin(None, INPUTS, TARGETS, {}), INPUTS, TARGETS, {"w": np.array([-1e308, 1e308])}
    )
    assert (row.smallest, row.largest, row.norm, row.not_finite) == (-1e308, 1e308, np.inf, 0)
