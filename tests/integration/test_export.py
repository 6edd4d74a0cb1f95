"""Exports of a run: the verb, its record, and what a refused export leaves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import yaml
from rich.console import Console

from expkit import experiment
from expkit.cli import main
from expkit.config import compose
from expkit.errors import ExportError
from expkit.export import certificates_of
from expkit.export.fresh import FreshProcess
from expkit.runs import read_record
from expkit.tracking.store import import_mlflow

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=300", "trainer.epochs=2", "plots=none"),
    *("model=mlp", "model.hidden=[16]"),
)


def train(folder: Path, *overrides: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        patch.chdir(folder.parents[2])
        experiment.run(compose([*QUICK, *overrides]), folder, Console(file=io.StringIO(), width=120))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracked run without an export."""
    folder = tmp_path_factory.mktemp("export") / "runs" / "mnist_cnn" / "one"
    train(folder, "export=none")
    return folder


@pytest.fixture(autouse=True)
def beside_the_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.chdir(run.parents[2])
    monkeypatch.setenv("COLUMNS", "120")


def stored(run: Path) -> tuple[Any, Any]:
    client = import_mlflow().MlflowClient(f"sqlite:///{run.parents[1] / 'mlflow.db'}")
    return client, client.get_run(read_record(run)["mlflow_run_id"])


@pytest.mark.slow
def test_a_run_is_exported_afterwards_and_its_record_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stored(run)[1].info
    assert main(["export", str(run), "--format", "paddle", "onnx"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"python -m expkit predict {run.relative_to(Path.cwd())} --format paddle FILE..." in said.out
    certificates = certificates_of(read_record(run))
    assert list(certificates) == ["paddle", "onnx"]
    for name, certificate in certificates.items():
        assert certificate.best.largest_difference < 1e-4
        assert json.loads((run / "export" / name / "certificate.json").read_text())["format"] == name
    about = yaml.safe_load((run / "export/onnx/model.yaml").read_text())
    assert about["runtimes"] == ["onnxruntime"]
    network = onnxruntime.InferenceSession(str(run / "export/onnx/model.onnx"))
    assert [one.name for one in network.get_inputs()] == [about["input_name"]]
    assert [one.name for one in network.get_outputs()] == [about["output_name"]]
    assert about["metrics"] == {k: round(v, 6) for k, v in read_record(run)["metrics"].items()}
    client, after = stored(run)
    assert (after.info.status, after.info.end_time) == (before.status, before.end_time)
    assert after.data.tags["export.onnx"] == str(certificates["onnx"])
    models = client.search_logged_models([after.info.experiment_id])
    assert {model.name for model in models} == {"model", "model-onnx"}
    (uri,) = [word for word in said.out.split() if word.startswith("runs:/") and word.endswith("/model-onnx")]
    assert uri == f"runs:/{after.info.run_id}/model-onnx"


def test_other_weights_go_elsewhere_and_leave_the_run_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = (run / "run.json").read_bytes()
    assert main(["export", str(run), "--checkpoint", "last", "--output", "away", "--json", "--samples", "9"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["folder"], told["samples"], told["model_uri"]) == ("away/paddle", 9, None)
    assert yaml.safe_load(Path("away/paddle/model.yaml").read_text())["epoch"] == 2
    assert (run / "run.json").read_bytes() == record
    Path("file").write_text("")
    for wrong, message in (
        (("--output", "file"), "--output file: this is a file"),
        (("--samples", "0"), "export.samples=0: must be at least 1"),
        (("--tolerance", "0"), "export.tolerance=0.0: must be greater than 0"),
    ):
        assert main(["export", str(run), *wrong]) == 2
        assert message in capsys.readouterr().err


def test_a_run_whose_export_is_refused_keeps_its_result(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FreshProcess, "run", lambda *_: pytest.fail("must not be reached"))
    monkeypatch.setattr("paddle.jit.save", _cannot)
    folder = run.with_name("refused")
    with pytest.raises(ExportError, match="cannot be"):
        train(folder, "tracking=none")
    record = read_record(folder)
    assert record["status"] == "FAILED"
    assert record["metrics"]["test/accuracy"] > 0
    assert "export" not in record
    assert not (folder / "export").exists()


def _cannot(*_: Any, **__: Any) -> None:
    raise RuntimeError("no graph of this")


@pytest.mark.slow
def test_ctrl_c_says_which_exports_are_whole(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check, into, asked = FreshProcess.run, tmp_path / "out", [""]

    def stopped(self: FreshProcess, folder: Path, *rest: Any) -> Any:
        if folder.name == asked[-1]:
            raise KeyboardInterrupt
        return check(self, folder, *rest)

    monkeypatch.setattr(FreshProcess, "run", stopped)
    for last, told in [
        ("paddle", f"Stopped: nothing was exported, and {into} is as it was."),
        ("onnx", f"Stopped: {into} has paddle anew, not recorded with the run, and onnx as before."),
    ]:
        asked.append(last)
        assert main(["export", str(run), "--format", "paddle", "onnx", "--output", str(into)]) == 130
        assert told in capsys.readouterr().err
    assert [path.name for path in into.iterdir()] == ["paddle"]
