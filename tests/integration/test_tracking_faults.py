"""What may go wrong between a run and its store, and what must never get into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from expkit.api import Classes, DataSource, DataSpec, ImageInput
from expkit.errors import TrackingError
from expkit.tracking import StoreSettings, masked
from expkit.tracking.schema_lock import database_file
from expkit.tracking.sender import Sender
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.conftest import QUICK, CommandLine
from tests.integration.tracked import begin


def settings(folder: Path, **more: Any) -> StoreSettings:
    return StoreSettings(None, "demo", "run", folder, folder / "mlartifacts", **more)


def client(folder: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(folder / "mlflow.db"))


def test_a_finish_that_a_signal_tore_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = begin(settings(tmp_path), params={}, tags={})
    close = Sender.close

    def torn(self: Sender, wait: Callable[[], bool]) -> bool:
        monkeypatch.setattr(Sender, "close", close)
        raise KeyboardInterrupt

    monkeypatch.setattr(Sender, "close", torn)
    with pytest.raises(KeyboardInterrupt):
        tracker.finish("FINISHED")
    tracker.finish("KILLED", "twice Ctrl-C")
    run = client(tmp_path).get_run(tracker.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["status.reason"] == "twice Ctrl-C"


def test_impatience_costs_nothing_where_the_store_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expkit.tracking.waiting.GRACE_SECONDS", 60.0)
    tracker = begin(settings(tmp_path), params={}, tags={})
    tracker.finish("KILLED", hurried=lambda: True)
    assert client(tmp_path).get_run(tracker.run_id).info.status == "KILLED"


def test_a_run_that_could_not_be_opened_whole_is_closed_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(settings(tmp_path), params={}, tags={}).finish()
    mlflow = import_mlflow()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(TrackingError, match="no run could be written \\(disk full\\)"):
        patch.setattr(mlflow.MlflowClient, "log_batch", full)
        begin(settings(tmp_path), params={"a": 1}, tags={})
    runs = client(tmp_path).search_runs(["1"])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("name", ["with space", "ünï çödé", "é#d", "p%20c", "100%", "q?x=1", "数据", "a+b@c"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    tracker = begin(settings(folder), params={}, tags={})
    (folder / "a.txt").write_text("a")
    tracker.log_artifact(folder / "a.txt")
    tracker.finish()
    assert (folder / "mlflow.db").is_file()
    assert client(folder).get_run(tracker.run_id).info.status == "FINISHED"
    copy = folder / "mlartifacts/demo" / tracker.run_id / "artifacts/a.txt"
    assert [f.path for f in client(folder).list_artifacts(tracker.run_id)] == ["a.txt"]
    assert copy.read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == [name], "no stray folder"
    assert database_file(tracker.uri) == folder / "mlflow.db"
    again = begin(StoreSettings(tracker.uri, "demo", "run", folder, folder / "mlartifacts"))
    again.finish()
    assert again.uri == tracker.uri


def test_a_run_interrupted_while_it_is_opened_is_closed_as_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(settings(tmp_path), params={}, tags={}).finish()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(import_mlflow().MlflowClient, "log_batch", interrupted)
        begin(settings(tmp_path), params={"a": 1}, tags={})
    runs = client(tmp_path).search_runs(["1"])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]


def test_a_plugins_metric_gets_a_column(tmp_path: Path) -> None:
    begin(settings(tmp_path, metrics=("dice",)), params={}, tags={}).finish()
    tags = client(tmp_path).get_experiment_by_name("demo").tags
    assert "metrics.`test/dice`" in tags["mlflow.sharedViewState.expkit"]


def test_a_metric_that_comes_later_gets_a_column_beside_the_others(tmp_path: Path) -> None:
    def columns() -> list[str]:
        tags = client(tmp_path).get_experiment_by_name("demo").tags
        return list(json.loads(tags["mlflow.sharedViewState.expkit"])["selectedColumns"])

    begin(settings(tmp_path), params={}, tags={}).finish()
    first = columns()
    assert "metrics.`test/accuracy`" in first, "the shipped metrics are shown without being named"
    for _ in range(2):
        begin(settings(tmp_path, metrics=("accuracy", "dice")), params={}, tags={}).finish()
        added = columns()
        at = added.index("metrics.`test/dice`")
        assert added[at - 1].startswith("metrics.")
        assert added[at + 1] == "metrics.`valid/best_dice`"
        assert added[at + 2].startswith("params.")
        assert [column for column in added if "dice" not in column] == first


def test_an_export_that_cannot_be_served_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = begin(settings(tmp_path), params={}, tags={})
    export = tmp_path / "export"
    export.mkdir()
    for name in ("model.json", "model.pdiparams", "preprocess.py"):
        (export / name).write_bytes(b"")
    image = ImageInput(28, 28, 1, (0.0,), (1.0,)).describe()
    for about, message in [
        ({"input": {"kind": "tokens"}}, "inputs are of the kind 'tokens'"),
        ({"input": image, "target": {"kind": "boxes"}}, "targets are of the kind 'boxes'"),
        ({"input": {**image, "crop": 3}}, "input has the kind 'image', but not the fields of this kind"),
    ]:
        (export / "model.yaml").write_text(yaml.safe_dump(about))
        assert tracker.log_model(export, np.zeros((1, 5))) is None
        assert message in caplog.text
    (export / "model.json").unlink()
    assert tracker.log_model(export, np.zeros((1, 5))) is None
    assert "has neither model.json with model.pdiparams nor model.onnx" in caplog.text
    tracker.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tracking.uri=http://me:s3cret@host:1/x and ftp://a:b@c",
            "tracking.uri=http://me:***@host:1/x and ftp://a:***@c",
        ),
        ("'mysql+pymysql://me@server:s3/cr@et@host/db'", "'mysql+pymysql://me@server:***@host/db'"),
        ("redis://:s3cret@host", "redis://:***@host"),
        ("[http://a:b@c,http://d:e@f]", "[http://a:***@c,http://d:***@f]"),
        ("http://host:5000/a@b me@host", "http://host:5000/a@b me@host"),
        ("http://me@host:80/ a:b@c", "http://me@host:80/ a:b@c"),
        ("http://[::1]:5000/a@b sqlite:///C:/a@b", "http://[::1]:5000/a@b sqlite:///C:/a@b"),
    ],
)
def test_passwords_are_masked_anywhere_in_a_text(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_passwords_do_not_reach_the_store(tmp_path: Path) -> None:
    secret = "https://me:hunter2@host/data"
    tracker = begin(
        settings(tmp_path), params={"dataset.url": secret, "list": [secret]}, tags={"a": secret}, description=secret
    )
    target = Classes(("a", "b"))
    source = DataSource("download", secret)
    tracker.log_data(DataSpec("x", ImageInput(2, 2, 1, (0.0,), (1.0,)), target, source, "0" * 64), {"train": 1})
    tracker.set_tags({"b": secret})
    tracker.set_description(f"# from {secret}")
    tracker.finish("FAILED", secret)
    run = client(tmp_path).get_run(tracker.run_id)
    assert run.data.params["list"] == '["https://me:***@host/data"]'
    assert json.loads(run.inputs.dataset_inputs[0].dataset.source) == {"url": "https://me:***@host/data"}
    assert b"hunter2" not in (tmp_path / "mlflow.db").read_bytes()


@pytest.mark.slow
def test_a_password_reaches_neither_files_nor_messages(expkit: CommandLine) -> None:
    secret = "postgresql://me:hunter2@127.0.0.1:1/db"
    done = expkit(*QUICK, f"tracking.uri={secret}", code=2)
    assert "hunter2" not in done.stderr + done.stdout
    assert "me:***@127.0.0.1" in done.stderr
    expkit(*QUICK, "plots=none", "export=none", f"+tracking.tags.db={secret}")
    kept = [path for path in (expkit.folder / "runs").rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if b"hunter2" in path.read_bytes()] == []
