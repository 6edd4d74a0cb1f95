"""What a model's graph holds: all that changes its answer, and no more."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime
import paddle
import pytest
from paddle import nn

from expkit.api import ExportError
from expkit.export.onnx import write_onnx
from expkit.export.paddle_int8 import quantise_paddle
from expkit.testing import example_specs
from expkit_learners._graph import write_graph

SPEC = next(spec for spec in example_specs() if len(spec.input_shape) == 1)
SIZE = SPEC.input_shape[0]
INPUTS = np.random.default_rng(0).normal(size=(5, SIZE)).astype(np.float32)
TENSOR = paddle.to_tensor(INPUTS)


class Assisted(nn.Layer):
    """A second head helps in training; a third one is never used."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(SIZE, 16), nn.BatchNorm1D(16))
        self.head = nn.Linear(16, SPEC.outputs)
        self.auxiliary = nn.Linear(16, 400)
        self.spare = nn.Linear(400, 400)
        self.register_buffer("seen", paddle.zeros([400]))
        self.register_buffer("nothing", None)

    def forward(self, x):
        features = self.body(x)
        helped = self.auxiliary(features).mean()
        return self.head(features) + helped if self.training else self.head(features)


def test_what_only_training_uses_is_left_out(tmp_path):
    model = Assisted()
    answers = write_graph(model, tmp_path, SPEC)
    np.testing.assert_allclose(answers(INPUTS), model(TENSOR).numpy(), rtol=0, atol=1e-6)
    used = 4 * (SIZE * 16 + 5 * 16 + (16 + 1) * SPEC.outputs)
    assert used <= (tmp_path / "model.pdiparams").stat().st_size < used + 500


class Normed(nn.Layer):
    """Both of Paddle's norms, of convolutions and of matrices."""

    def __init__(self):
        super().__init__()
        self.rows = nn.utils.spectral_norm(nn.Linear(SIZE, 64))
        self.image = nn.utils.weight_norm(nn.Conv2D(1, 4, 3))
        self.map = nn.utils.spectral_norm(nn.Conv2D(4, 4, 3))
        self.head = nn.utils.weight_norm(nn.Linear(64, SPEC.outputs), dim=None)

    def forward(self, x):
        pixels = nn.functional.relu(self.rows(x)).reshape([-1, 1, 8, 8])
        return self.head(nn.functional.relu(self.map(self.image(pixels))).flatten(1))


@pytest.fixture(scope="module")
def trained():
    """A model whose weights are not those that it was built with."""
    paddle.seed(0)
    model = Normed()
    model(TENSOR)
    model.set_state_dict({name: tensor * 1.5 + 0.1 for name, tensor in model.state_dict().items()})
    model(TENSOR)
    model.eval()
    return model


def fresh(model):
    """Return a model of the same weights that has not been called, as an export does it."""
    made = type(model)()
    made.set_state_dict(model.state_dict())
    return made


def test_a_norm_is_that_of_the_trained_weights(trained, tmp_path):
    model = fresh(trained)
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    paddle.seed(3)
    wanted = paddle.randn([4]).numpy()
    paddle.seed(3)
    answers = write_graph(model, tmp_path, SPEC)
    np.testing.assert_array_equal(paddle.randn([4]).numpy(), wanted)
    np.testing.assert_allclose(answers(INPUTS), trained(TENSOR).numpy(), rtol=0, atol=1e-6)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def test_a_norm_is_exported_as_the_weights_that_it_makes(trained, tmp_path):
    own = trained(TENSOR).numpy()
    write_graph(fresh(trained), tmp_path, SPEC)
    write_onnx(tmp_path, tmp_path / "model.onnx")
    runtime = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(runtime.run(None, {"input": INPUTS})[0], own, rtol=0, atol=1e-5)
    small = tmp_path / "small"
    small.mkdir()
    quantise_paddle(tmp_path, small)
    assert (small / "model.pdiparams").stat().st_size < 0.75 * (tmp_path / "model.pdiparams").stat().st_size
    loaded = paddle.jit.load(str(small / "model"))
    loaded.eval()
    np.testing.assert_allclose(loaded(TENSOR).numpy(), own, rtol=0, atol=0.03 * np.abs(own).max())


def test_a_norm_in_a_model_that_cannot_be_copied(tmp_path):
    class Locked(nn.Layer):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()
            self.head = nn.utils.weight_norm(nn.Linear(SIZE, SPEC.outputs))

        def forward(self, x):
            return self.head(x)

    model = Locked()
    model.eval()
    answers = write_graph(fresh(model), tmp_path, SPEC)
    np.testing.assert_allclose(answers(INPUTS), model(TENSOR).numpy(), rtol=0, atol=1e-6)


def test_what_a_model_makes_for_each_batch_follows_the_batch(tmp_path):
    class Remembering(nn.Layer):
        def __init__(self):
            super().__init__()
            self.head = nn.utils.weight_norm(nn.Linear(SIZE, SPEC.outputs))
            self.ones = None

        def forward(self, x):
            if self.ones is None or self.ones.shape[0] != x.shape[0]:
                self.ones = paddle.ones([x.shape[0], 1])
            return self.head(x) + self.ones

    model = Remembering()
    model.eval()
    answers = write_graph(fresh(model), tmp_path, SPEC)
    np.testing.assert_allclose(answers(INPUTS), model(TENSOR).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "message"), [("model.json", "is not whole"), ("model.pdiparams", "bytes of weights")])
def test_a_file_that_was_cut_is_noticed(tmp_path, monkeypatch, name, message):
    save = paddle.jit.save

    def cut(model, path, **options):
        save(model, path, **options)
        file = Path(path).with_name(name)
        file.write_bytes(file.read_bytes()[:-200])

    monkeypatch.setattr(paddle.jit, "save", cut)
    with pytest.raises(ExportError, match=f"{message}.*Is the disk full, or a limit set on the size of files"):
        write_graph(Assisted(), tmp_path, SPEC)
