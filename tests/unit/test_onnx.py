"""ONNX files that are written from a Paddle export, and what cannot be written."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from small_learner import SPEC, Net

from expkit.api import ExportError
from expkit.export.onnx import require_onnx, write_onnx
from expkit.testing import example_specs
from expkit_learners._graph import write_graph
from expkit_models.linear import Linear

ROWS = next(spec for spec in example_specs() if len(spec.input_shape) == 1)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A convolution, batch normalisation, dropout, pooling: its folder, and what answers for it."""
    folder = tmp_path_factory.mktemp("network")
    paddle.seed(0)
    answers = write_graph(Net(), folder, SPEC)
    write_onnx(folder, folder / "model.onnx")
    return folder, answers


def test_a_network_answers_as_paddle_does_for_every_batch_size(network):
    folder, answers = network
    runtime = session(folder / "model.onnx")
    random = np.random.default_rng(0)
    for size in (1, 5):
        inputs = random.normal(size=(size, 1, 28, 28)).astype(np.float32)
        np.testing.assert_allclose(runtime.run(["output"], {"input": inputs})[0], answers(inputs), atol=1e-5)


def test_the_file_names_what_goes_in_and_out(network):
    model = onnx.load(network[0] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("input", "output")
    shapes = [[d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim] for value in (given, made)]
    assert shapes == [["N", 1, 28, 28], ["N", 10]]


def test_weights_are_weights_and_nothing_is_left_over(network):
    graph = onnx.load(network[0] / "model.onnx").graph
    assert {"Constant", "Identity"}.isdisjoint(node.op_type for node in graph.node)
    used = {name for node in graph.node for name in node.input}
    assert {weight.name for weight in graph.initializer} <= used


def test_float64_stays_float64(tmp_path):
    spec = dataclasses.replace(ROWS, input=dataclasses.replace(ROWS.input, precision="float64"))
    model = Linear(spec)
    model.to(dtype="float64")
    answers = write_graph(model, tmp_path, spec)
    write_onnx(tmp_path, tmp_path / "model.onnx")
    inputs = np.random.default_rng(0).normal(size=(3, *spec.input_shape))
    (found,) = session(tmp_path / "model.onnx").run(None, {"input": inputs})
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, answers(inputs), rtol=1e-14)


def test_nothing_is_printed(tmp_path, network, capfd):
    write_onnx(network[0], tmp_path / "again.onnx")
    assert capfd.readouterr() == ("", "")


def test_missing_packages_are_named_before_anything_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "paddle2onnx" else name)
    with pytest.raises(ExportError, match=r"need paddle2onnx\. Install with: pip install 'expkit\[onnx\]'"):
        require_onnx()
