"""What a user gets wrong: one clear screen, exit code 2, nothing half-written."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.integration.conftest import QUICK, CommandLine

BEFORE_PADDLE = [
    ("model=cnnn", r"no model is called 'cnnn'\. Did you mean 'cnn'\?"),
    ("trainer.epoch=3", r"Did you mean 'trainer\.epochs'\?"),
    ("trainer.epochs=abc", r"trainer\.epochs=abc .* int"),
    ("trainer.epochs=0", r"trainer\.epochs=0: must be at least 1"),
    ("+model.typo=1", r"model 'cnn' has no option 'typo'\. Known: channels, kernel"),
    ("+typo=1", r"no option 'typo'"),
    ("dataset.batch_size=0", r"dataset\.batch_size=0: must be a whole number, at least 1"),
    ("seed=-1", r"seed=-1: must be at least 0"),
    ("name=a/b", r"name='a/b': it names a folder"),
    ("metrics=[accuracy,foo]", r"no metric is called 'foo'"),
]

AFTER_PADDLE = [
    ("device=gpu", r"device=gpu: .*(CPU build|Paddle sees 0 GPUs)"),
    ("dataset.root=nowhere", r"nowhere does not exist"),
    ("model.kernel=4", r"model\.kernel=4: must be odd"),
    ("checkpoint.monitor=valid/foo", r"'valid/foo' is not measured\. Measured are valid/accuracy, valid/loss"),
    ("model._target_=my.Net", r"my\.Net cannot be loaded: .*No module named 'my'"),
    ("tracking.uri=nonsense://x", r"nonsense://x' is not a tracking store"),
]


def check(expkit: CommandLine, arguments: tuple[str, ...], message: str) -> None:
    done = expkit(*arguments, code=2)
    assert re.search(message, done.stderr), done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) <= 10
    assert "Traceback" not in done.stderr
    assert not (expkit.folder / "runs").exists()


@pytest.mark.parametrize(("mistake", "message"), BEFORE_PADDLE)
def test_a_mistake_in_the_config_is_explained(expkit: CommandLine, mistake: str, message: str) -> None:
    check(expkit, (*QUICK, mistake), message)


@pytest.mark.parametrize(("mistake", "message"), AFTER_PADDLE)
def test_a_mistake_that_shows_when_parts_are_built_is_explained(
    expkit: CommandLine, mistake: str, message: str
) -> None:
    check(expkit, (*QUICK, mistake), message)


def test_an_experiment_without_its_plus_is_explained(expkit: CommandLine) -> None:
    check(expkit, ("experiment=mnist_cnn",), r"Write \+experiment=mnist_cnn")


def test_a_truncated_data_file_is_named_with_what_was_expected(expkit: CommandLine) -> None:
    root = expkit.folder / "mnist"
    root.mkdir()
    header = (2051).to_bytes(4, "big") + (60000).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (root / f"{name}.gz").write_bytes(gzip.compress(header + bytes(1000)))
    (root / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8)))
    check(expkit, (*QUICK, f"dataset.root={root}"), r"train-images-idx3-ubyte\.gz ends after")


def test_a_runs_folder_that_cannot_be_written_is_explained(expkit: CommandLine) -> None:
    (expkit.folder / "taken").write_text("a file, not a folder")
    done = expkit(*QUICK, "runs_dir=taken", code=2)
    assert re.search(r"runs folder cannot be written: .*taken.*runs_dir=FOLDER", done.stderr)


def test_predict_without_runs_says_how_to_start_one(expkit: CommandLine) -> None:
    done = expkit("predict", "last", "digit.png", code=2)
    assert "python -m expkit +experiment=mnist_cnn" in done.stderr


def test_debug_shows_the_traceback(expkit: CommandLine) -> None:
    expkit.environment["EXPKIT_DEBUG"] = "1"
    done = expkit(*QUICK, "seed=-1", code=2)
    assert "Traceback" in done.stderr
    assert "seed=-1: must be at least 0" in done.stderr


def test_a_users_own_conf_folder_brings_presets_and_experiments(expkit: CommandLine) -> None:
    conf: Path = expkit.folder / "conf"
    (conf / "model").mkdir(parents=True)
    (conf / "experiment").mkdir()
    (conf / "config.yaml").write_text("unrelated: true\n")
    (conf / "model" / "wide.yaml").write_text("defaults: [cnn]\nchannels: [64, 64]\n")
    (conf / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /dataset: digits\n  - override /model: wide\nname: mine\n"
    )
    done = expkit("--cfg", "job", "+experiment=mine")
    assert "name: mine" in done.stdout
    assert "- 64" in done.stdout


def test_a_run_killed_before_it_begins_leaves_no_folder(expkit: CommandLine) -> None:
    (expkit.folder / "conf/callbacks").mkdir(parents=True)
    (expkit.folder / "conf/callbacks/dying.yaml").write_text("# @package callbacks.dying\n_target_: dying.Dying\n")
    (expkit.folder / "dying.py").write_text(
        "import os, signal\nfrom expkit.api import Callback\n\n\nclass Dying(Callback):\n"
        "    def __init__(self) -> None:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    expkit(*QUICK, "model=mlp", "callbacks=[dying]", code=-9)
    assert list(expkit.folder.glob("runs/*/*")) == []
