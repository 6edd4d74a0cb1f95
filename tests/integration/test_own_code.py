"""Runs with components in files of the user's own: their text is of the run, as its options are."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit import experiment, own_code
from expkit.config import compose
from expkit.reproduction.conduct import reproduce
from expkit.runs import read_record
from tests.integration.conftest import CommandLine
from tests.integration.resuming import console

MODEL = """import math

from paddle import nn

from my_parts import FACTOR


class TinyNet(nn.Layer):
    def __init__(self, spec, hidden: int = 4):
        super().__init__()
        self.body = nn.Linear(math.prod(spec.input_shape), hidden)
        self.head = nn.Linear(hidden, spec.outputs)

    def forward(self, inputs):
        return self.head(FACTOR * self.body(inputs.flatten(1)))
"""
QUICK = (
    *("+experiment=mnist_cnn", "dataset=digits", "model=tiny_net", "trainer.epochs=1", "plots.enabled=false"),
    *("trainer.limit_train_batches=4", "export.enabled=false", "tracking.kind=none"),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "models.py").write_text(MODEL)
    (tmp_path / "my_parts.py").write_text("FACTOR = 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own_code.VARIABLE, ".")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("plugins", "my_parts")]:
        del sys.modules[name]


@pytest.mark.slow
def test_a_run_is_gone_on_with_and_done_again_with_the_text_of_then(project: Path, capsys: pytest.CaptureFixture[str]):
    run = project / "runs" / "mnist_cnn" / "first"
    experiment.run(compose(QUICK), run, console())
    (project / "my_parts.py").write_text("FACTOR = 5.0\n")
    (project / "plugins" / "models.py").unlink()
    assert reproduce(str(run), console=console()) == 0
    experiment.resume(run, ["trainer.epochs=2"], console())
    assert read_record(run)["status"] == "FINISHED"
    (project / "plugins" / "models.py").write_text(MODEL)
    other = project / "runs" / "mnist_cnn" / "other"
    experiment.run(compose(QUICK), other, console())
    assert read_record(other)["config_hash"] != read_record(run)["config_hash"]
    assert read_record(other)["metrics"] != read_record(run)["metrics"]


@pytest.mark.slow
def test_jobs_of_a_sweep_know_the_users_files_and_keep_their_text(expkit: CommandLine):
    (expkit.folder / "plugins").mkdir()
    (expkit.folder / "plugins" / "models.py").write_text(MODEL)
    (expkit.folder / "my_parts.py").write_text("FACTOR = 1.0\n")
    expkit("-m", *QUICK, "model.hidden=2,3")
    runs = expkit.runs()
    assert [json.loads((run / "run.json").read_text())["status"] for run in runs] == ["FINISHED"] * 2
    assert all((run / "code" / "my_parts.py").is_file() for run in runs)
    assert len(list(runs[0].parent.glob("code/*/plugins/models.py"))) == 1


@pytest.mark.slow
def test_native_code_that_crashes_leaves_the_stack_that_names_its_file_and_line(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, forked=False)
    (tmp_path / "plugins").mkdir()
    crashing = MODEL.replace("from my_parts import FACTOR", "import ctypes").replace(
        "FACTOR *", "ctypes.string_at(0) *"
    )
    (tmp_path / "plugins" / "models.py").write_text(crashing)
    done = line(*QUICK, code=-signal.SIGSEGV)
    begin = "Fatal Python error: Segmentation fault\n\nStack (most recent call first):\n"
    stack = done.stderr[done.stderr.index(begin) :]
    forward = next(n for n, text in enumerate(crashing.splitlines(), start=1) if "string_at" in text)
    assert f'plugins/models.py", line {forward} in forward\n' in stack
    assert "FatalError" in done.stdout + done.stderr, "Paddle tells its part, too"
