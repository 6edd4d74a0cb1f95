"""What a model's graph holds: all that changes its answer, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit.api import ExportError
from expkit.testing import example_specs
from expkit_learners._graph import write_graph

SPEC = next(spec for spec in example_specs() if len(spec.input_shape) == 1)
SIZE = SPEC.input_shape[0]
INPUTS = np.random.default_rng(0).normal(size=(5, SIZE)).astype(np.float32)


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
    np.testing.assert_allclose(answers(INPUTS), model(paddle.to_tensor(INPUTS)).numpy(), rtol=0, atol=1e-6)
    used = 4 * (SIZE * 16 + 5 * 16 + (16 + 1) * SPEC.outputs)
    assert used <= (tmp_path / "model.pdiparams").stat().st_size < used + 500


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
