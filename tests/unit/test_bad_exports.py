"""Models that cannot be exported, or not as ONNX: the message names the layer, and what to write instead."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit.api import ExportError
from expkit.export.onnx import write_onnx
from expkit.export.program import read_operators
from expkit.testing import example_specs
from expkit_learners._graph import write_graph

THREE = paddle.to_tensor(3.0)
SPEC = next(spec for spec in example_specs() if len(spec.input_shape) == 1)
SIZE = SPEC.input_shape[0]


class Net(nn.Layer):
    """An odd layer among usual ones."""

    def __init__(self, odd):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(SIZE, 16), nn.ReLU(), odd)
        self.head = nn.Linear(16, SPEC.outputs)

    def forward(self, x):
        return self.head(self.features(x))


class Odd(nn.Layer):
    """Calls a function; what a lambda decides in Python is decided once, when it is traced."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Undefined(nn.Layer):
    def forward(self, x):
        if x.mean() > 0:
            y = x * 2
        return y


class Branch(nn.Layer):
    def forward(self, x):
        if float(x.mean()) > 0:
            x = x * 2
        return x


class Loop(nn.Layer):
    def forward(self, x):
        while x.abs().max() > 1:
            x = x / 2
        return x


class Rows(nn.Layer):
    def forward(self, x):
        return paddle.stack([row * 2 for row in x])


class Range(nn.Layer):
    def forward(self, x):
        return paddle.stack([x[n] * 2 for n in range(x.shape[0])])


class Endless(nn.Layer):
    def forward(self, x):
        while True:
            x = x / 2
            if x.abs().max() < 1:
                break
        return x


class Numpy(nn.Layer):
    def forward(self, x):
        return x + paddle.to_tensor(np.ones((x.shape[0], 16), np.float32))


class Foreign(nn.Layer):
    def forward(self, x):
        return x * THREE


class Kept(nn.Layer):
    def __init__(self):
        super().__init__()
        self.tensors = {"scale": paddle.to_tensor(3.0)}

    def forward(self, x):
        return self.tensors["scale"] * x


class Counter(nn.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Noise(nn.Layer):
    def forward(self, x):
        return x + paddle.randn(x.shape)


class Fixed(nn.Layer):
    def forward(self, x):
        return x.reshape([2, 4, 4]).flatten(1)


class OneOnly(nn.Layer):
    def forward(self, x):
        return x.reshape([1, 4, 4]).flatten(1)


class Masked(nn.Layer):
    def forward(self, x):
        return paddle.masked_select(x, x > 0)


class Erfinv(nn.Layer):
    def forward(self, x):
        return paddle.lgamma(x) + paddle.erfinv(x.tanh())


def line(layer, offset=1):
    """The line of a layer's `forward`, as messages give it."""
    return f"test_bad_exports.py line {layer.forward.__code__.co_firstlineno + offset}"


@pytest.mark.parametrize(
    ("odd", "where", "cure"),
    [
        (Undefined, "layer features.2 (Undefined) fails", "Set the variable before the `if`, or in each branch"),
        (Rows, f"layer features.2 (Rows), {line(Rows)}, fails", "Compute on the whole batch at once"),
        (Range, f"layer features.2 (Range), {line(Range)}, fails", "Compute on the whole batch at once"),
        (Endless, f"layer features.2 (Endless), {line(Endless)}, fails", "Put the condition into the loop's head"),
        (Numpy, f"layer features.2 (Numpy), {line(Numpy)}, fails", "Use Paddle's functions on tensors, not NumPy's"),
        (Foreign, f"features.2 (Foreign), {line(Foreign)} computes with a tensor", "self.register_buffer("),
        (Kept, f"features.2 (Kept), {line(Kept)} computes with a tensor", "self.register_buffer("),
        (Counter, "layer features.2 (Counter) answers the same inputs differently", "only `if self.training`"),
        (Noise, "layer features.2 (Noise) answers the same inputs differently", "only `if self.training`"),
        (
            Fixed,
            f"layer features.2 (Fixed), {line(Fixed)}, fails on a batch of 3",
            "`reshape([-1, ...])` or `flatten(1)`",
        ),
        (
            OneOnly,
            f"features.2 (OneOnly), {line(OneOnly)}, fails on a batch of 3",
            "`reshape([-1, ...])` or `flatten(1)`",
        ),
        (Masked, f"masked_select gives in features.2 (Masked), {line(Masked)} depends on", "`paddle.where("),
        (
            lambda: Odd(lambda x: x - x.mean(0) if x.shape[0] > 1 else x),
            "layer features.2 (Odd) computes something else in the graph",
            "Use `paddle.where`",
        ),
    ],
)
def test_the_layer_and_the_cure_are_named(odd, where, cure, tmp_path):
    with pytest.raises(ExportError) as raised:
        write_graph(Net(odd()), tmp_path, SPEC)
    assert where in str(raised.value)
    assert cure in str(raised.value)
    assert str(raised.value).startswith("Net cannot be ")
    assert str(raised.value).endswith("export=none trains without exporting.")


@pytest.mark.parametrize(("answer", "named"), [(lambda y: (y, y), "tuple"), (lambda y: {"logits": y}, "dict")])
def test_a_model_that_answers_more_than_a_tensor(answer, named, tmp_path):
    class Several(Net):
        def forward(self, x):
            return answer(super().forward(x))

    with pytest.raises(ExportError, match=f"Several cannot be exported: it answers a {named}, .* Return that alone"):
        write_graph(Several(nn.ReLU()), tmp_path, SPEC)


def test_randomness_between_layers_is_not_blamed_on_the_layer_behind_it(tmp_path):
    class Sprinkled(Net):
        def forward(self, x):
            return super().forward(x + paddle.randn(x.shape))

    with pytest.raises(ExportError, match=r"the code before layer features\.0 \(\w+\) answers the same inputs differ"):
        write_graph(Sprinkled(nn.ReLU()), tmp_path, SPEC)


@pytest.mark.parametrize("odd", [Branch, Loop])
def test_branches_and_loops_on_values_are_exported(odd, tmp_path):
    paddle.seed(0)
    model = Net(odd())
    predict = write_graph(model, tmp_path, SPEC)
    for scale in (0.1, 1, 10):
        inputs = (np.random.default_rng(0).normal(size=(5, SIZE)) * scale).astype(np.float32)
        np.testing.assert_allclose(predict(inputs), model(paddle.to_tensor(inputs)).numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_says_where_each_operator_comes_from(tmp_path):
    write_graph(Net(Branch()), tmp_path, SPEC)
    places = {one.name: one.place for one in read_operators(tmp_path)}
    assert places["relu"].startswith("features.1 (ReLU), test_bad_exports.py line ")
    assert places["greater_than"] == f"features.2 (Branch), {line(Branch)}"
    assert places["if"].startswith("features.2 (Branch)")


def test_an_operator_that_onnx_lacks_is_named_with_its_layer(tmp_path):
    write_graph(Net(Erfinv()), tmp_path, SPEC)
    with pytest.raises(ExportError) as raised:
        write_onnx(tmp_path, tmp_path / "model.onnx")
    place = f"features.2 (Erfinv), {line(Erfinv)}"
    for name in ("lgamma", "erfinv"):
        assert f"{name} in {place}" in str(raised.value)
    assert "leave the ONNX formats out of export.formats" in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.pdiparams"]


def test_a_loop_that_onnx_gets_wrong_is_named_with_its_layer(tmp_path):
    write_graph(Net(Loop()), tmp_path, SPEC)
    with pytest.raises(ExportError, match=r"this model has while in features\.2 \(Loop\).*choose with `paddle\.where`"):
        write_onnx(tmp_path, tmp_path / "model.onnx")
