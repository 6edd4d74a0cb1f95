"""Every experiment file composes, says what it is, and runs."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from expkit import experiment
from expkit.config import compose
from expkit.paths import conf_dir

EXPERIMENTS = sorted((conf_dir() / "experiment").glob("*.yaml"))
BRIEF = ("trainer.epochs=1", "trainer.limit_train_batches=3", "dataset.download=false", "tracking=none")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and no genuine data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    return tmp_path


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_an_experiment_is_named_after_its_file_and_opens_with_its_command(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n# ")
    assert re.search(rf"^#   python -m expkit \+experiment={file.stem}\b", text, re.M)
    assert re.search(r"^# Expect", text, re.M)
    config = compose([f"+experiment={file.stem}"])
    assert config.name == file.stem
    assert config.choices["experiment"] == file.stem


@pytest.mark.slow
@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_an_experiment_runs(file: Path, stand_in: Path) -> None:
    folder, screen = stand_in / "run", io.StringIO()
    result = experiment.run(compose([f"+experiment={file.stem}", *BRIEF]), folder, Console(file=screen, width=120))
    assert json.loads((folder / "run.json").read_text())["status"] == "FINISHED"
    assert "STAND-IN DATA" in screen.getvalue()
    assert {path.name for path in (folder / "plots").iterdir()} >= {"curves.png"}
    assert list(result.certificates) == ["paddle"]
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_the_smoke_preset_runs_everything_in_a_few_steps() -> None:
    config = compose(["+experiment=mnist_cnn", "+debug=smoke"])
    assert (config.trainer.epochs, config.trainer.limit_train_batches) == (1, 5)
