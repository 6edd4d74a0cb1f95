"""Exports in 8 bits: what is rounded, by how much, and that every runtime answers with it."""

from __future__ import annotations

import dataclasses
import logging
import shutil

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from small_learner import SPEC

from expkit import standalone
from expkit.api import ExportError
from expkit.export.int8 import quantise_onnx
from expkit.export.onnx import write_onnx
from expkit.export.paddle_int8 import quantise_paddle, rounded
from expkit.export.weights import read_weights, write_weights
from expkit.testing import example_specs
from expkit_learners._graph import write_graph
from expkit_models.cnn import CNN
from expkit_models.linear import Linear

ROWS = next(spec for spec in example_specs() if len(spec.input_shape) == 1)
INPUTS = np.random.default_rng(0).normal(size=(64, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    paddle.seed(0)
    return CNN(SPEC)


@pytest.fixture(scope="module")
def source(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("float")
    write_graph(network, folder, SPEC)
    return folder


@pytest.fixture(scope="module")
def small(source, tmp_path_factory):
    """The network's weights in 8 bits, as Paddle's files."""
    folder = tmp_path_factory.mktemp("paddle")
    quantise_paddle(source, folder)
    return folder


@pytest.fixture(scope="module")
def quantised(source, tmp_path_factory):
    """The network in 8 bits, as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(source, folder / "float.onnx")
    handlers = list(logging.getLogger().handlers)
    quantise_onnx(folder / "float.onnx", folder / "model.onnx", INPUTS)
    assert logging.getLogger().handlers == handlers
    return folder


def answers(path, inputs):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": inputs})[0]


def test_each_channel_is_rounded_to_its_own_grid():
    weight = np.array([[1.27, 0.5], [-0.635, -50.8]], np.float32)
    numbers, scale = rounded(weight, axis=1)
    np.testing.assert_allclose(scale, [[0.01, 0.4]])
    assert numbers.tolist() == [[127, 1], [-64, -127]]  # 0.5 / 0.4 is 1.25
    numbers, scale = rounded(np.zeros((3, 2), np.float32), axis=0)
    assert (numbers == 0).all() and (scale == 1).all()


@pytest.mark.parametrize("runtime", ["jit", "inference"])
def test_paddle_answers_with_exactly_the_rounded_weights(network, small, runtime):
    reference = CNN(SPEC)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name, weight in state.items():
        if weight.ndim > 1:  # those of a convolution are [out, in, ...], those of a linear layer [in, out]
            numbers, scale = rounded(weight, axis=0 if weight.ndim == 4 else 1)
            state[name] = numbers * scale
    reference.set_state_dict({name: paddle.to_tensor(array) for name, array in state.items()})
    reference.eval()
    with paddle.no_grad():
        wanted = reference(paddle.to_tensor(INPUTS)).numpy()
    found = standalone._LOADERS[runtime](small)(INPUTS)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert standalone._LOADERS[runtime](small)(INPUTS[:1]).shape == (1, 10)


def test_paddle_weights_are_a_quarter(source, small):
    before, after = ((folder / "model.pdiparams").stat().st_size for folder in (source, small))
    assert after < 0.27 * before


def test_of_a_small_model_all_weights_are_rounded(tmp_path):
    write_graph(Linear(ROWS), tmp_path, ROWS)
    target = tmp_path / "int8"
    target.mkdir()
    quantise_paddle(tmp_path, target)
    rows = np.random.default_rng(2).normal(size=(5, *ROWS.input_shape)).astype(ROWS.input_dtype)
    wanted, found = (standalone._LOADERS["jit"](folder)(rows) for folder in (tmp_path, target))
    assert 0 < np.abs(found - wanted).max() < 0.05


def test_a_model_without_weights_says_so(tmp_path):
    class Mean(paddle.nn.PReLU):
        def forward(self, x):
            return super().forward(x.mean(axis=1, keepdim=True))

    write_graph(Mean(), tmp_path, ROWS)
    with pytest.raises(ExportError, match=r"no linear layer, convolution or embedding.*Leave paddle-int8 out"):
        quantise_paddle(tmp_path, tmp_path)


def test_weights_are_read_as_they_were_written(tmp_path):
    weights = {"b": np.arange(300, dtype=np.float64).reshape(3, 100), "a": np.int8([[1], [-2]]), "c": np.float32(3)}
    write_weights(tmp_path / "w", {name: np.asarray(array) for name, array in weights.items()})
    found = read_weights(tmp_path / "w", list(weights))
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-2])
    with pytest.raises(ExportError, match="weight 'c' cannot be read"):
        read_weights(tmp_path / "w", list(weights))


def test_onnx_answers_nearly_as_before(quantised):
    exact, found = answers(quantised / "float.onnx", INPUTS), answers(quantised / "model.onnx", INPUTS)
    assert 0 < np.abs(exact - found).max() < 0.1 * np.abs(exact).max()
    assert answers(quantised / "model.onnx", INPUTS[:3]).shape == (3, 10)


def test_onnx_weights_are_int8_of_each_channel_and_the_outputs_are_not_rounded(quantised):
    graph = onnx.load(quantised / "model.onnx").graph
    large = [weight for weight in graph.initializer if np.prod(weight.dims) > 256]
    assert len(large) == 3
    assert {weight.data_type for weight in large} == {onnx.TensorProto.INT8}
    assert sorted(len(one.dims) and one.dims[0] for one in graph.initializer if one.name.endswith("_scale"))[-2:] == [
        20,
        20,
    ]
    (last,) = [node for node in graph.node if graph.output[0].name in node.output]
    assert last.op_type == "Gemm"
    used = {name for node in graph.node for name in node.input}
    assert {weight.name for weight in graph.initializer} <= used  # or ONNX Runtime warns whoever opens it


def test_float64_is_computed_in_8_bits_and_answered_in_float64(tmp_path):
    spec = dataclasses.replace(ROWS, input=dataclasses.replace(ROWS.input, precision="float64"))
    model = Linear(spec)
    model.to(dtype="float64")
    paddles = write_graph(model, tmp_path, spec)
    write_onnx(tmp_path, tmp_path / "float.onnx")
    inputs = np.random.default_rng(0).normal(size=(200, *spec.input_shape))
    quantise_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", inputs)
    found = answers(tmp_path / "model.onnx", inputs)
    assert found.dtype == np.float64
    exact = paddles(inputs)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_nothing_is_printed(quantised, tmp_path, capfd):
    shutil.copy(quantised / "float.onnx", tmp_path)
    quantise_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", INPUTS[:8])
    assert capfd.readouterr() == ("", "")
