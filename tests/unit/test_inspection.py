from __future__ import annotations

import random

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.inspection import layer_table, look_inside, remarks, spread, statistics_table
from expkit.testing import example_specs
from expkit_models.cnn import CNN

IMAGES = np.random.default_rng(0).standard_normal((8, 1, 28, 28)).astype(np.float32)
ROWS = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
CLASSES = np.arange(8) % 3


class Model(nn.Layer):
    """A model from its layers, by name, and a function of them and the input."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._call = forward

    def forward(self, x):
        return self._call(self, x)


def look(model, inputs=ROWS, loss=F.cross_entropy):
    return look_inside(model, loss, inputs, CLASSES)


def layers_of(model, inputs=ROWS):
    return {layer.name: layer for layer in look(model, inputs).layers}


def kinds_of(found):
    return {(remark.kind, remark.where) for remark in remarks(found)}


def test_the_textbooks_network_layer_by_layer():
    found = look(CNN(example_specs()[0]), IMAGES)
    rows = [(x.name, x.kind, x.shapes[0][1:], x.parameters, x.operations) for x in found.layers]
    assert rows == [
        ("conv1", "Conv2D", (20, 28, 28), 1 * 20 * 25 + 20, 20 * 28 * 28 * 2 * 25),
        ("relu1", "ReLU", (20, 28, 28), 0, 20 * 28 * 28),
        ("pool1", "MaxPool2D", (20, 14, 14), 0, 20 * 14 * 14 * 3),
        ("conv2", "Conv2D", (20, 14, 14), 20 * 20 * 25 + 20, 20 * 14 * 14 * 2 * 20 * 25),
        ("relu2", "ReLU", (20, 14, 14), 0, 20 * 14 * 14),
        ("pool2", "MaxPool2D", (20, 7, 7), 0, 20 * 7 * 7 * 3),
        ("flatten", "Flatten", (980,), 0, 0),
        ("head", "Linear", (10,), 980 * 10 + 10, 10 * 2 * 980),
    ]
    assert sum(layer.parameters for layer in found.layers) == 20_350
    text = layer_table(found)
    assert "conv2    Conv2D     [N, 20, 14, 14]      10,020  3,920,000" in text
    assert "total                                    20,350  4,757,900" in text


@pytest.mark.parametrize(
    ("layer", "shape", "operations"),
    [
        (nn.Linear(5, 3), (5,), 3 * 10),
        (nn.Linear(5, 3, bias_attr=False), (5,), 3 * 9),  # five products, four sums
        (nn.Conv2D(4, 6, 3, groups=2), (4, 5, 5), 6 * 3 * 3 * 2 * (2 * 9)),
        (nn.Conv1D(2, 3, 5, padding=2), (2, 7), 3 * 7 * 2 * 10),
        (nn.Conv2DTranspose(2, 3, 2, stride=2), (2, 4, 4), 2 * 4 * 4 * 2 * 3 * 4),
        (nn.AvgPool2D(2), (3, 4, 4), 3 * 2 * 2 * 4),
        (nn.MaxPool1D(4), (3, 8), 3 * 2 * 3),
        (nn.AdaptiveAvgPool2D(1), (3, 4, 4), 3 * 16),
        (nn.BatchNorm2D(3), (3, 4, 4), 3 * 16 * 2),
        (nn.LayerNorm(5), (5,), 5 * 7),
        (nn.Softmax(), (5,), 5 * 3),
        (nn.LeakyReLU(), (5,), 5 * 2),
        (nn.Dropout(0.5), (5,), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Layer) else "",
)
def test_operations_of_one_sample(layer, shape, operations):
    inputs = paddle.rand([8, *shape])
    found = look_inside(layer, lambda y, _: y.mean(), inputs.numpy(), CLASSES)
    assert [x.operations for x in found.layers] == [operations]


def test_a_layer_without_formula_makes_the_sum_a_lower_bound():
    class Own(nn.Layer):
        def forward(self, x):
            return x * 2

    found = look(nn.Sequential(("own", Own()), ("head", nn.Linear(5, 3))))
    text = layer_table(found)
    assert found.layers[0].operations is None
    assert "at least 30" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("own")] == ["-"]


def test_a_layer_that_is_called_twice_has_one_line_and_counts_twice():
    model = Model(lambda m, x: m.head(m.twice(m.twice(x))), twice=nn.Linear(5, 5), head=nn.Linear(5, 3))
    twice = layers_of(model)["twice"]
    assert (twice.calls, twice.parameters, twice.operations) == (2, 30, 2 * 5 * 10)
    assert "Linear x2" in layer_table(look(model))


def test_shared_parameters_are_counted_once():
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    model = nn.Sequential(first, second, nn.Linear(5, 3))
    assert [layer.parameters for layer in look(model).layers] == [30, 5, 18]


def test_layers_that_answer_tuples_are_shown_as_a_whole():
    model = Model(lambda m, x: m.head(m.lstm(x.unsqueeze(1))[1][0][0]), lstm=nn.LSTM(5, 7), head=nn.Linear(7, 3))
    found = look(model)
    lstm = found.layers[0]
    assert (lstm.name, lstm.kind, lstm.shapes) == ("lstm", "LSTM", ((8, 1, 7), (1, 8, 7), (1, 8, 7)))
    assert lstm.parameters == 4 * 7 * (5 + 7) + 2 * 4 * 7
    assert [line for line in statistics_table(found).splitlines() if "weight_hh_l0 gradient" in line]


def test_a_model_that_is_a_single_layer():
    (layer,) = look(nn.Linear(5, 3)).layers
    assert (layer.name, layer.parameters) == ("", 18)
    assert "(model)" in layer_table(look(nn.Linear(5, 3)))


def test_running_statistics_are_kept_apart_from_what_is_learned():
    found = look(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1D(4), nn.Linear(4, 3)))
    assert [(x.parameters, x.fixed) for x in found.layers] == [(24, 0), (8, 8), (15, 0)]
    assert "8 numbers are kept without being learned" in layer_table(found)


def test_spread_by_hand():
    found = spread(np.array([[0.0, 3.0], [-1.0, np.nan]], np.float32))
    assert (found.mean, found.smallest, found.largest) == (pytest.approx(2 / 3), -1.0, 3.0)
    assert (found.zeros, found.not_finite, found.norm) == (0.25, 1, pytest.approx(10**0.5))
    assert (found.counts.sum(), found.edges[0], found.edges[-1]) == (2, -1.0, 3.0)


@pytest.mark.parametrize("values", [[], [0.0], [7.0] * 5, [1e30, 1e30], [np.inf], [1.0, 1.0 + 1e-16]])
def test_spread_of_odd_numbers_has_bins(values):
    found = spread(np.array(values, np.float64))
    assert len(found.counts) == 60 and (np.diff(found.edges) > 0).all()
    assert found.counts.sum() == np.isfinite([v for v in values if v]).sum()


def test_dead_units_are_flagged_where_they_begin():
    first = nn.Linear(5, 4)
    first.bias.set_value(np.array([0, -100, 0, -100], np.float32))
    found = look(
        nn.Sequential(("first", first), ("relu", nn.ReLU()), ("drop", nn.Dropout(0.1)), ("h", nn.Linear(4, 3)))
    )
    assert [(x.name, x.dead, x.units) for x in found.layers if x.dead] == [("relu", 2, 4)]
    assert "relu: 2 of 4 units are 0 for all 8 samples" in [remark.text for remark in remarks(found)]
    assert "2 of 4 units dead" in statistics_table(found)


def test_a_dead_channel_is_named_once_though_pooling_follows():
    conv = nn.Conv2D(1, 3, 3)
    conv.bias.set_value(np.array([0, 0, -1000], np.float32))
    model = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Linear(3 * 13 * 13, 3))
    found = look(model, IMAGES)
    assert kinds_of(found) == {("dead", "1")}


def test_what_follows_a_dead_layer_is_not_named_with_it():
    first, last = nn.Linear(5, 4), nn.Linear(4, 3)
    first.bias.set_value(np.full(4, -100, np.float32))
    found = look(nn.Sequential(("first", first), ("relu", nn.ReLU()), ("last", last)))
    assert [layer.dead for layer in found.layers] == [0, 4, 3]
    assert {where for kind, where in kinds_of(found) if kind == "dead"} == {"relu"}


def test_a_unit_of_a_sequence_is_a_feature_not_a_step():
    mix = nn.Linear(5, 4)
    mix.bias.set_value(np.array([-100, 0, 0, 0], np.float32))
    model = Model(lambda m, x: m.head(m.relu(m.mix(x)).mean(1)), mix=mix, relu=nn.ReLU(), head=nn.Linear(4, 3))
    relu = layers_of(model, np.stack([ROWS, ROWS, ROWS], axis=1))["relu"]
    assert (relu.units, relu.dead) == (4, 1)


def test_all_zero_weights_are_said_to_be_copies_and_to_stop_gradients():
    model = nn.Sequential(("first", nn.Linear(5, 4)), ("last", nn.Linear(4, 3)))
    for parameter in model.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    found = look(model)
    texts = [remark.text for remark in remarks(found)]
    assert "first.weight, last.weight: all numbers are the same, so that units are copies" in texts
    assert "first.weight, first.bias, last.weight: the gradient is exactly 0" in texts


def test_what_the_model_passes_over_is_named():
    model = Model(lambda m, x: m.used(x), used=nn.Linear(5, 3), idle=nn.Linear(5, 3))
    found = look(model)
    assert kinds_of(found) == {("unused", "idle"), ("no gradient", "idle.weight")}
    assert "not called" in layer_table(found)
    assert [line for line in statistics_table(found).splitlines() if line.startswith("idle   weight")]


def test_the_first_layer_with_nan_is_named():
    model = nn.Sequential(("a", nn.Linear(5, 4)), ("b", nn.Linear(4, 4)), ("c", nn.Linear(4, 3)))
    model.b.weight.set_value(np.full((4, 4), np.nan, np.float32))
    texts = [remark.text for remark in remarks(look(model)) if remark.kind == "not finite"]
    assert texts == [
        "loss is nan",
        "b.weight: among the numbers are NaN or infinite ones",
        "b: the first layer whose outputs are NaN or infinite, 32 of them",
        "a.weight, a.bias, b.weight and 3 more: the gradient is NaN or infinite",
    ]


def test_a_loss_that_nothing_leads_to_gives_no_gradients():
    found = look_inside(nn.Linear(5, 3), lambda y, t: (y.detach() ** 2).mean(), ROWS, CLASSES)
    assert [parameter.gradient for parameter in found.parameters] == [None, None]


def test_gradients_are_those_of_backward():
    model = nn.Linear(5, 3)
    found = look(model)
    F.cross_entropy(model(paddle.to_tensor(ROWS)), paddle.to_tensor(CLASSES)).backward()
    for facts, parameter in zip(found.parameters, model.parameters(), strict=True):
        assert facts.gradient.norm == pytest.approx(float(parameter.grad.norm()), rel=1e-6)


def everything(model):
    """All that a look could disturb."""
    return (
        {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()},
        [layer.training for layer in model.sublayers(include_self=True)],
        [len(layer._forward_post_hooks) for layer in model.sublayers(include_self=True)],
        [p.grad is None or p.grad.numpy().tobytes() for p in model.parameters()],
        (random.random(), np.random.rand(), paddle.rand([]).item()),
    )


def seeded():
    random.seed(0)
    np.random.seed(0)
    paddle.seed(0)


@pytest.mark.parametrize("fails", [False, True])
def test_a_look_leaves_everything_as_it_was(fails):
    def forward(m, x):
        random.random()
        np.random.rand()
        out = m.head(m.drop(m.norm(m.first(x))))
        if fails and m.training:
            raise RuntimeError("no")
        return out

    model = Model(forward, first=nn.Linear(5, 4), norm=nn.BatchNorm1D(4), drop=nn.Dropout(0.5), head=nn.Linear(4, 3))
    model.norm.eval()  # a part that the user froze
    seeded()
    before = everything(model)
    seeded()
    if fails:
        with pytest.raises(RuntimeError, match="no"):
            look(model)
    else:
        look(model)
    assert everything(model) == before


def test_a_look_finds_and_leaves_gradients_that_wait_for_a_step():
    model = nn.Linear(5, 3)
    model(paddle.to_tensor(ROWS)).sum().backward()
    before = model.weight.grad.numpy()
    look(model)
    assert np.array_equal(model.weight.grad.numpy(), before)
