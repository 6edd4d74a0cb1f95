"""What may go wrong between a run and its store, and what must never get into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from expkit.errors import TrackingError
from expkit.tracking import StoreSettings, open_tracker
from expkit.tracking.store import import_mlflow, sqlite_uri
from expkit.tracking.writer import MetricWriter
from tests.integration.conftest import QUICK, CommandLine


def settings(folder: Path, **more: Any) -> StoreSettings:
    return StoreSettings(None, "demo", "run", folder, folder / "mlartifacts", **more)


def client(folder: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(folder / "mlflow.db"))


def test_a_finish_that_a_signal_tore_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = open_tracker(settings(tmp_path), params={}, tags={})
    close = MetricWriter.close

    def torn(self: MetricWriter, timeout: float = 0) -> int:
        monkeypatch.setattr(MetricWriter, "close", close)
        raise KeyboardInterrupt

    monkeypatch.setattr(MetricWriter, "close", torn)
    with pytest.raises(KeyboardInterrupt):
        tracker.finish("FINISHED")
    tracker.finish("KILLED", "twice Ctrl-C")
    run = client(tmp_path).get_run(tracker.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["status.reason"] == "twice Ctrl-C"


def test_a_run_that_could_not_be_opened_whole_is_closed_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_tracker(settings(tmp_path), params={}, tags={}).finish()
    mlflow = import_mlflow()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(TrackingError, match="no run could be written \\(disk full\\)"):
        patch.setattr(mlflow.MlflowClient, "log_batch", full)
        open_tracker(settings(tmp_path), params={"a": 1}, tags={})
    runs = client(tmp_path).search_runs(["1"])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("name", ["with space", "ünï çödé", "é#d", "p%20c", "q?x", "数据"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    tracker = open_tracker(settings(folder), params={}, tags={})
    tracker.finish()
    assert (folder / "mlflow.db").is_file()
    assert client(folder).get_run(tracker.run_id).info.status == "FINISHED"
    if not set(name) & set("%?"):  # MLflow itself makes a stray folder for these
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_plugins_metric_gets_a_column(tmp_path: Path) -> None:
    open_tracker(settings(tmp_path, metrics=("dice",)), params={}, tags={}).finish()
    tags = client(tmp_path).get_experiment_by_name("demo").tags
    assert "metrics.`test/dice`" in tags["mlflow.sharedViewState.expkit"]


def test_an_export_that_cannot_be_served_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = open_tracker(settings(tmp_path), params={}, tags={})
    export = tmp_path / "export"
    export.mkdir()
    for name in ("model.json", "model.pdiparams", "preprocess.py"):
        (export / name).write_bytes(b"")
    (export / "model.yaml").write_text(yaml.safe_dump({"input": {"kind": "tokens"}}))
    assert tracker.log_model(export, np.zeros((1, 5))) is None
    assert "inputs are of the kind 'tokens'" in caplog.text
    (export / "model.json").unlink()
    assert tracker.log_model(export, np.zeros((1, 5))) is None
    assert "has no model.json" in caplog.text
    tracker.finish()


def test_a_password_reaches_neither_files_nor_messages(expkit: CommandLine) -> None:
    secret = "postgresql://me:hunter2@127.0.0.1:1/db"
    done = expkit(*QUICK, f"tracking.uri={secret}", code=2)
    assert "hunter2" not in done.stderr + done.stdout
    assert "me:***@127.0.0.1" in done.stderr
    expkit(*QUICK, "plots=none", "export=none", f"+tracking.tags.db={secret}")
    kept = [path for path in (expkit.folder / "runs").rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if b"hunter2" in path.read_bytes()] == []
