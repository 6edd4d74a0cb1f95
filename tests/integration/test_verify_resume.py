"""`verify-resume`: a run that is killed and resumed is the run that was not, or one is told where it is not."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from expkit import registry
from expkit.callbacks import read_steps
from expkit.cli.experiments import experiment_names
from expkit.config import compose
from expkit.tracking.store import import_mlflow
from expkit.verification.conduct import TAG, verify
from tests.integration.conftest import CommandLine
from tests.integration.warm import Warm, same, warm

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

SMALL = ("+experiment=mnist_cnn", "dataset.download=false", "model=mlp", "model.hidden=[8]")

FORGETFUL = """\
from collections.abc import Mapping
import numpy as np
from expkit.api import LearnerState, StepResult

class Forgetful:
    '''Linear regression with a momentum that no checkpoint holds.'''

    def __init__(self, parts, *, learning_rate: float = 0.01):
        self.learning_rate, self.weights, self.momentum = learning_rate, np.zeros((*parts.spec.input_shape, 1)), 0.0

    def train_step(self, inputs, targets):
        outputs = inputs @ self.weights
        error = outputs - targets
        self.momentum = 0.9 * self.momentum + inputs.T @ error / len(inputs)
        self.weights = self.weights - self.learning_rate * self.momentum
        return StepResult(float((error**2).mean()), outputs)

    def eval_step(self, inputs, targets):
        outputs = inputs @ self.weights
        return StepResult(float(((outputs - targets) ** 2).mean()), outputs)

    def predict(self, inputs):
        return inputs @ self.weights

    def state_dict(self):
        return LearnerState({"weights": self.weights}, {}, {})

    def load_state_dict(self, state):
        self.weights = state.model["weights"]

    def summary(self) -> Mapping[str, float]:
        return {"parameters": self.weights.size}
"""


def tracked(folder: Path) -> list[Any]:
    client = import_mlflow().MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    (found,) = (one for one in client.search_experiments() if one.name.endswith("-verify-resume"))
    return list(client.search_runs([found.experiment_id]))


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_is_identical_and_says_so(expkit: CommandLine) -> None:
    expkit.environment["TMPDIR"] = str(expkit.folder)
    done = expkit("verify-resume", *SMALL, "--steps", "30")
    assert "killed      by SIGKILL after step 17, with its last checkpoint at step 15: 2 lost" in done.stdout
    assert "identical   30 steps\n" in done.stdout
    assert "the last checkpoint (4 tensors of the weights, 16 of the optimizer, progress" in done.stdout
    assert "points in MLflow, none missing and none twice" in done.stdout
    assert [run.data.tags[TAG] for run in tracked(expkit.folder)] == ["identical", "identical"]
    assert not list(expkit.folder.glob("expkit-verify-resume-*")), "only what differs is kept"
    assert not list(expkit.folder.glob("runs/*/*/run.json")), "nor is it a run of the user's"


@pytest.mark.slow
def test_a_learner_that_forgets_its_momentum_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    chosen = ("+experiment=housing_numpy_gd", "learner._target_=forgetful.Forgetful", "tracking=none")
    out = io.StringIO()
    code = verify(compose([*chosen, "dataset.repeat=10"]), steps=30, kill_at=17, console=Console(file=out, width=200))
    assert code == 1
    assert re.search(r"differs +at step 17 \(epoch 2\): loss [\d.]+ -> [\d.]+\n", out.getvalue())
    assert re.search(r"last checkpoint: weights, weights\[0, 0\]: \S+ -> \S+ \(10 of 10 values", out.getvalue())
    (kept,) = tmp_path.glob("expkit-verify-resume-*")
    assert json.loads((kept / "resumed" / "run.json").read_text())["status"] == "FINISHED"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with warm(tmp_path_factory.mktemp("warm")) as found:
        yield found


def names(kind: str) -> list[str]:
    return sorted(registry.entries(registry.kind_named(kind)))


TINY = ("+experiment=mnist_cnn", "model=mlp", "model.hidden=[8]", "dataset.limit=160", "dataset.batch_size=16")
SHORT = (
    *("dataset.download=false", "trainer.epochs=2", "trainer.stop_after=null", "trainer.limit_train_batches=8"),
    *("checkpoint.every_steps=3", "tracking=none", "export=none", "plots=none", "trainer.progress=off"),
)
CASES = {
    **{f"experiment {name}": (f"+experiment={name}",) for name in experiment_names()},
    **{
        f"optimizer {name}": (*TINY, f"optimizer={name}", f"schedule={'constant' if name == 'rprop' else 'cosine'}")
        for name in names("optimizer")
    },
    **{f"schedule {name}": (*TINY, f"schedule={name}") for name in names("schedule")},
    **{
        f"loading {mode}": (*TINY, f"dataset.loading={mode}", "dataset.workers=2", "transforms=[shift]")
        for mode in ("sync", "prefetch", "workers")
    },
    "dropout": (*TINY, "model.dropout=0.5"),
    "augmentation": (
        *(*TINY, f"transforms=[{','.join(names('transform'))}]"),
        "transforms.paddle_transform.of=[{_target_: paddle.vision.transforms.BrightnessTransform, value: 0.4}]",
    ),
    "averaged weights": (*TINY, "learner.ema=0.9"),
    "metrics": (*TINY, "metrics=[accuracy,auc,f1,precision,recall]"),
    "callbacks": (*TINY, "callbacks=[early_stopping,inspect,weight_norms]"),
    "repeated passes": (*TINY, "dataset.repeat=3", "trainer.limit_train_batches=24"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_killed_within_an_epoch_and_resumed_is_identical(parent: Warm, case: str) -> None:
    overrides, name = (*SHORT, *CASES[case]), case.replace(" ", "-")
    assert parent(f"{name}-whole", *overrides) == 0, parent.said(f"{name}-whole")
    folder = parent.path(f"{name}-whole")
    steps = len(read_steps(folder))
    assert parent(name, *overrides, step=steps - 1 if steps > 2 else steps) == -9, parent.said(name)
    assert parent(name, resume=True) == 0, parent.said(name)
    same(folder, parent.path(name))
