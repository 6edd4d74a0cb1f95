"""What the weights of an earlier run still do: `evaluate`, and `predict` from a checkpoint."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from expkit import experiment
from expkit.api import ConfigError
from expkit.cli import main
from expkit.config import compose
from expkit.errors import CheckpointError
from expkit.evaluation import evaluate

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=300", "trainer.epochs=2", "tracking=none"),
    *("plots=none", "model=mlp", "model.hidden=[16]", "model.dropout=0.2", "transforms=[shift]"),
    "learner.ema=0.9",  # whoever took the raw weights would be seen to measure others
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that all tests here look at."""
    folder = tmp_path_factory.mktemp("evaluate") / "runs" / "mnist_cnn" / "one"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        patch.chdir(folder.parents[2])
        experiment.run(compose(list(QUICK)), folder, Console(file=io.StringIO(), width=120))
    return folder


@pytest.fixture(autouse=True)
def beside_the_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.chdir(run.parents[2])


def test_the_best_weights_measure_what_the_run_recorded(run: Path) -> None:
    recorded = json.loads((run / "run.json").read_text())["metrics"]
    valid, test = evaluate(run, ["valid", "test"])
    assert test.metrics == {name: recorded[f"test/{name}"] for name in ("loss", "accuracy")}
    assert (valid.largest_difference, test.largest_difference) == (0.0, 0.0)
    assert (valid.samples, test.samples) == (60, 60)


def test_the_training_samples_are_all_measured_without_augmentation(run: Path) -> None:
    (train,) = evaluate(run, ["train"], "last")
    assert train.samples == 300
    assert train.largest_difference is None
    recorded = json.loads((run / "history.json").read_text())[-1]
    assert train.metrics["loss"] != recorded["train/loss"]


def test_the_table_says_whether_the_record_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("the same") == 2
    assert main(["evaluate", "last", "--split", "valid", "--checkpoint", "last", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["split"], answer["epoch"]) == ("valid", 2)
    assert answer["metrics"] == answer["recorded"]


def test_a_record_that_does_not_hold_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "run.json").read_text()
    record = json.loads(text)
    record["metrics"]["test/accuracy"] += 0.25
    (run / "run.json").write_text(json.dumps(record))
    try:
        assert main(["evaluate", str(run), "--split", "test"]) == 0
    finally:
        (run / "run.json").write_text(text)
    assert "others; they differ by up to 0.25" in capsys.readouterr().out


def test_other_data_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch, genuine_data: Path) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(genuine_data))
    with pytest.raises(ConfigError, match="the data is not that of the run: mnist"):
        evaluate(run, ["test"])


def test_a_checkpoint_answers_as_the_export_does(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digit = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8))
    digit.save("digit.png")
    (folder,) = (run / "checkpoints").glob(json.loads((run / "checkpoints/index.json").read_text())["best"])
    answers = []
    for arguments in ([str(run)], [str(run), "--checkpoint", "best"], [str(folder)]):
        assert main(["predict", *arguments, "digit.png", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["answers"][0]["probabilities"])
    assert answers[1] == pytest.approx(answers[0], abs=1e-5)
    assert answers[2] == answers[1]


def test_without_an_export_the_best_checkpoint_answers_and_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.linear_gradient("L").save("grey.png")
    (run / "export").rename(run / "aside")
    try:
        assert main(["predict", str(run), "grey.png"]) == 0
    finally:
        (run / "aside").rename(run / "export")
    shown = capsys.readouterr()
    assert "has no export; its best checkpoint answers" in shown.err
    assert "grey.png" in shown.out


def test_a_damaged_checkpoint_is_named(run: Path) -> None:
    name = json.loads((run / "checkpoints/index.json").read_text())["best"]
    weights = run / "checkpoints" / name / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    try:
        with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
            evaluate(run, ["test"])
    finally:
        weights.write_bytes(whole)
