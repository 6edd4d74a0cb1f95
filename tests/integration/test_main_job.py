"""`python -m expkit +experiment=mnist_cnn`, whole, on the stand-in that needs neither network nor files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from tests.integration.conftest import QUICK, CommandLine, wait_for


@pytest.fixture(scope="module")
def quick_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CommandLine, subprocess.CompletedProcess[str]]:
    """One short run of the main job, as a user starts it, on the stand-in; shared by the tests that only look at it."""
    line = CommandLine(tmp_path_factory.mktemp("quick"), forked=False)
    return line, line(*QUICK)


def test_the_screen_names_data_results_places_and_next_commands(quick_run):
    _, done = quick_run
    assert done.stderr == ""
    assert "This is NOT mnist" in done.stdout
    assert "digits (stand-in for mnist)" in done.stdout
    assert re.search(r"epoch 1/1  train loss \d\.\d{4}  accuracy \d\.\d{4}  \|  valid loss", done.stdout)
    assert re.search(r"│ test +│", done.stdout)
    assert re.search(r"/export/paddle  \(differs by up to \d\.\de-\d\d from the model on \d+ samples\)", done.stdout)
    assert len(re.findall(r"^  python -m expkit", done.stdout, re.M)) == 4


def test_the_run_folder_holds_all_that_is_promised(quick_run):
    line, _ = quick_run
    (run,) = line.runs()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run.name)
    assert run.parent.name == "mnist_cnn"
    for name in ("config.yaml", "overrides.yaml", "environment.json", "run.log", "run.json", "history.json"):
        assert (run / name).stat().st_size > 0, name
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["channels"] == [20, 20]
    assert yaml.safe_load((run / "overrides.yaml").read_text()) == list(QUICK)
    assert json.loads((run / "environment.json").read_text())["versions"]["paddlepaddle"]
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        with Image.open(run / "plots" / name) as picture:
            picture.verify()
    assert {p.name for p in (run / "export" / "paddle").iterdir()} == {
        "model.json",
        "model.pdiparams",
        "model.yaml",
        "preprocess.py",
        "certificate.json",
        "example.npy",
        "predict.py",
        "requirements.txt",
    }
    index = json.loads((run / "checkpoints" / "index.json").read_text())
    assert set(index) == {"last", "best", "kept"}
    assert load_file(run / "checkpoints" / index["last"] / "model.safetensors")["head.weight"].shape == (
        980,
        10,
    )
    assert not [p for p in run.rglob("*") if p.name.startswith(".") or ".tmp" in p.name]


def test_mlflow_has_choices_options_metrics_tags_data_pictures_and_the_model(quick_run):
    line, _ = quick_run
    (run,) = line.mlflow_runs()
    data = run.data
    assert run.info.status == "FINISHED"
    assert data.params["model"] == "cnn"
    assert data.params["model.channels"] == "[20, 20]"
    assert data.params["optimizer.learning_rate"] == "0.001"
    assert data.params["metrics"] == "accuracy"
    for name in ("step/loss", "step/accuracy", "train/loss", "valid/accuracy", "test/accuracy", "valid/best_epoch"):
        assert name in data.metrics, name
    assert data.tags["data.stand_in_for"] == "mnist"
    assert len(data.tags["data.fingerprint"]) == 64
    assert data.tags["device"] == "cpu"
    assert "digits (stand-in for mnist)" in run.info.run_name
    assert "digits (stand-in for mnist)" in data.tags["mlflow.note.content"]
    assert {i.dataset.name.partition(",")[0] for i in run.inputs.dataset_inputs} == {"digits (stand-in for mnist)"}
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert (artifacts / "plots" / "confusion.png").is_file()
    assert (artifacts / "config" / "config.yaml").is_file()
    assert list((artifacts / "checkpoints").rglob("model.safetensors"))
    assert run.outputs.model_outputs


def test_predict_answers_for_images_and_names_the_bad_one(quick_run):
    line, _ = quick_run
    pixels = np.full((60, 40), 255, np.uint8)
    pixels[10:50, 18:22] = 0  # a dark stroke on white paper
    Image.fromarray(pixels).save(line.folder / "one.png")
    (line.folder / "text.png").write_text("not an image")
    good = line("predict", "last", "one.png")
    assert "one.png" in good.stdout
    assert "%" in good.stdout
    assert "digits (stand-in for mnist)" in good.stdout
    bad = CommandLine(line.folder)("predict", "last", "text.png", "one.png", "missing.png", "--json", code=2)
    text, one, missing = (json.loads(row) for row in bad.stdout.splitlines())
    assert "not a readable image" in text["error"]
    assert "no such file" in missing["error"]
    assert set(one["answers"][0]["probabilities"]) == set("0123456789")
    assert sum(one["answers"][0]["probabilities"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(expkit: CommandLine):
    options = (
        *QUICK,
        "tracking=none",
        "export=none",
        "plots=none",
        "transforms=[shift,noise]",
        "callbacks=[]",
    )
    weights, histories = [], []
    for number, seed in enumerate((7, 7, 8)):
        expkit(*options, f"seed={seed}", f"runs_dir=runs/{number}")
        (run,) = (p.parent for p in (expkit.folder / "runs" / str(number)).rglob("run.json"))
        index = json.loads((run / "checkpoints" / "index.json").read_text())
        folder = run / "checkpoints" / index["last"]
        weights.append((folder / "model.safetensors").read_bytes() + (folder / "optimizer.safetensors").read_bytes())
        epochs = json.loads((run / "history.json").read_text())
        histories.append([{k: v for k, v in e.items() if k != "seconds"} for e in epochs])
    assert weights[0] == weights[1]
    assert histories[0] == histories[1]
    assert weights[0] != weights[2]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_saves_a_checkpoint_marks_the_run_killed_and_exits_with_75(expkit: CommandLine):
    process = expkit.start("+experiment=mnist_cnn", "trainer.epochs=500", "dataset.download=false")
    wait_for(lambda: list(expkit.folder.rglob("history.json")), 120, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Traceback" not in out + err
    assert expkit.record()["status"] == "KILLED"
    (run,) = expkit.runs()
    from expkit.checkpoint import CheckpointFolder

    assert CheckpointFolder(run / "checkpoints").load("last").progress["step"] > 0
    (tracked,) = expkit.mlflow_runs()
    assert tracked.info.status == "KILLED"


@pytest.mark.slow
def test_a_crash_in_a_model_marks_the_run_failed_with_its_reason(expkit: CommandLine):
    (expkit.folder / "my_models.py").write_text(
        "from paddle import nn\n"
        "class Bomb(nn.Layer):\n"
        "    def __init__(self, spec):\n"
        "        super().__init__()\n"
        "        self.head, self.calls = nn.Linear(784, spec.outputs), 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if self.calls > 5:\n"
        "            raise RuntimeError('boom at call 6')\n"
        "        return self.head(x.flatten(1))\n"
    )
    done = expkit(*QUICK, "model=linear", "model._target_=my_models.Bomb", code=1)
    assert "boom at call 6" in done.stderr
    assert "my_models.py" in done.stderr
    assert "Traceback" not in done.stderr
    record = expkit.record()
    assert record["status"] == "FAILED"
    assert "boom at call 6" in record["reason"]
    (run,) = expkit.runs()
    assert "Traceback" in (run / "run.log").read_text()
    (tracked,) = expkit.mlflow_runs()
    assert tracked.info.status == "FAILED"
    assert "boom" in tracked.data.tags["status.reason"]


@pytest.mark.slow
def test_a_multirun_trains_each_combination_in_a_folder_of_its_own(expkit: CommandLine):
    done = expkit(*QUICK, "export=none", "plots=none", "-m", "optimizer=sgd,momentum")
    runs = expkit.runs()
    assert len(runs) == 2
    ending = done.stdout.partition("2 jobs, the best valid/accuracy first")[2]
    assert "STAND-IN DATA: this is NOT mnist; digits (stand-in for mnist) was used." in ending
    scores = [float(row.split("│")[4]) for row in re.findall(r"^│ .*(?:sgd|momentum).*$", ending, re.M)]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    with Image.open(runs[0].parent / "losses.png") as picture:
        assert picture.width > 1000
    tracked = expkit.mlflow_runs()
    (parent,) = (run for run in tracked if "mlflow.parentRunId" not in run.data.tags)
    jobs = [run for run in tracked if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.data.params["optimizer"] for run in jobs} == {"sgd", "momentum"}
    assert {run.info.status for run in tracked} == {"FINISHED"}


def test_a_diverging_loss_stops_the_run_and_says_what_to_try(expkit: CommandLine):
    options = ("optimizer=sgd", "optimizer.learning_rate=1e30", "tracking=none")
    done = expkit(*QUICK, *options, code=1)
    assert re.search(r"the loss is (nan|inf) at step \d+", done.stderr)
    assert "optimizer.learning_rate=" in done.stderr
    assert expkit.record()["status"] == "FAILED"
