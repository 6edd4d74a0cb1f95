"""The process that sends to the store: what it does, and what happens when it or its parent dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from expkit.cli.sync import main as sync
from expkit.errors import TrackingError
from expkit.tracking import Courier, StoreSettings, courier_for, open_tracker, reopen_tracker
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.forked import Command
from tests.integration.conftest import QUICK, CommandLine, wait_for
from tests.integration.tracked import wait_for as wait_until

NAME = "20260101-120000-abcdef"


def settings(runs: Path, uri: str | None = None, **more: Any) -> StoreSettings:
    return StoreSettings(uri, "demo", "run", runs, runs / "mlartifacts", **more)


def client(runs: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(runs / "mlflow.db"))


def children(pid: int) -> list[int]:
    """Return the processes of a run that send to its store."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"courier_process" in command and f"\0{pid}\0".encode() in command:
            found.append(int(folder.name))
    return found


@pytest.fixture
def courier(monkeypatch: pytest.MonkeyPatch) -> Iterator[Courier]:
    """One that is forked, with MLflow imported already."""
    with monkeypatch.context() as forking:
        forking.setattr(subprocess, "Popen", Command)
        starting = Courier(None)
    with starting as started:
        yield started
    assert not started.is_alive()


@pytest.fixture
def fresh_courier() -> Iterator[Courier]:
    """One as a run starts it."""
    with Courier(None) as started:
        yield started
    assert children(os.getpid()) == []


def test_everything_that_a_run_tells_comes_to_the_store(
    tmp_path: Path, fresh_courier: Courier, caplog: pytest.LogCaptureFixture
) -> None:
    courier = fresh_courier
    tracker = open_tracker(settings(tmp_path), tmp_path / NAME, params={"a": 1}, tags={"b": "2"}, courier=courier)
    assert client(tmp_path).get_run(tracker.run_id).info.status == "RUNNING"
    for step in range(1, 2001):
        tracker.log_metrics({"loss": 1 / step}, step)
    tracker.log_text("hello", "notes/a.txt")
    (tmp_path / NAME / "gone.txt").write_text("x")
    tracker.log_artifact(tmp_path / NAME / "gone.txt")
    (tmp_path / NAME / "gone.txt").unlink()
    with caplog.at_level(logging.WARNING, "expkit"):
        tracker.finish("FINISHED")
    run = client(tmp_path).get_run(tracker.run_id)
    assert (run.info.status, run.data.params, run.data.tags["b"]) == ("FINISHED", {"a": "1"}, "2")
    points = client(tmp_path).get_metric_history(tracker.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(step, 1 / step) for step in range(1, 2001)]
    assert [item.path for item in client(tmp_path).list_artifacts(tracker.run_id, "notes")] == ["notes/a.txt"]
    assert [tracker.uri, tracker.experiment_id] == [sqlite_uri(tmp_path / "mlflow.db"), run.info.experiment_id]
    assert "gone.txt" in caplog.text, "what the store could not get is said by this process"


@pytest.mark.slow
def test_what_is_wrong_with_a_store_is_told_here(tmp_path: Path, courier: Courier) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to look at" * 20)
    with pytest.raises(TrackingError, match="not a database"):
        open_tracker(settings(tmp_path), tmp_path / NAME, params={}, tags={}, courier=courier)
    assert not (tmp_path / NAME).exists()


@pytest.mark.slow
def test_a_run_begins_without_its_store_and_finds_it_later(
    tmp_path: Path, courier: Courier, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "runs"
    blocked.write_text("a file where the folder should be")
    chosen = settings(tmp_path, f"sqlite:///{blocked}/mlflow.db", required=False)
    with caplog.at_level(logging.WARNING, "expkit"):
        tracker = open_tracker(chosen, tmp_path / NAME, params={}, tags={}, courier=courier)
    assert "The run begins without it" in caplog.text
    assert tracker.run_id == ""
    blocked.unlink()
    tracker.log_metrics({"loss": 0.5}, 1)
    tracker.finish()
    run = import_mlflow().MlflowClient(tracker.uri).get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 0.5})


@pytest.mark.slow
def test_a_courier_that_is_killed_costs_the_run_nothing(
    tmp_path: Path, courier: Courier, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / NAME
    tracker = open_tracker(settings(tmp_path), folder, params={"a": 1}, tags={}, courier=courier)
    tracker.log_metrics({"loss": 0.5}, 1)
    with caplog.at_level(logging.WARNING, "expkit"):
        os.kill(courier.pid, signal.SIGKILL)
        tracker.log_metrics({"loss": 0.25}, 2)
        until = time.monotonic() + 20
        while "killed by SIGKILL" not in caplog.text and time.monotonic() < until:
            time.sleep(0.02)
    assert (
        "The run goes on without it; what it records is in its folder, and is sent from here in the end" in caplog.text
    )
    tracker.finish("FINISHED")
    run = client(tmp_path).get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 0.25}, {"a": "1"})
    assert len(client(tmp_path).search_runs([run.info.experiment_id])) == 1
    assert len(client(tmp_path).get_metric_history(tracker.run_id, "loss")) == 2


@pytest.mark.slow
def test_one_that_dies_before_the_store_is_open_is_done_without(
    tmp_path: Path, courier: Courier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "expkit"):
        os.kill(courier.pid, signal.SIGKILL)
        tracker = open_tracker(settings(tmp_path), tmp_path / NAME, params={"a": 1}, tags={}, courier=courier)
    tracker.log_metrics({"loss": 0.5}, 1)
    tracker.finish()
    run = client(tmp_path).get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 0.5})
    assert len([one for one in caplog.messages if "has ended (killed by SIGKILL)" in one]) == 1


@pytest.mark.slow
def test_one_that_is_frozen_is_not_waited_for_longer_than_a_minute(
    tmp_path: Path, courier: Courier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = open_tracker(settings(tmp_path), tmp_path / NAME, params={}, tags={}, courier=courier)
    monkeypatch.setattr("expkit.tracking.courier._SILENT", 1.0)  # instead of a minute
    monkeypatch.setattr("expkit.tracking.courier._LOOK", 0.02)
    with caplog.at_level(logging.WARNING, "expkit"):
        os.kill(courier.pid, signal.SIGSTOP)
        tracker.finish()
    assert "has ended (no sign of life for 1 s)" in caplog.text
    assert client(tmp_path).get_run(tracker.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_one_that_a_locked_store_holds_up_is_ended_where_nobody_wants_to_wait(
    tmp_path: Path, courier: Courier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("expkit.tracking.waiting.GRACE_SECONDS", 0.1)
    tracker = open_tracker(settings(tmp_path), tmp_path / NAME, params={}, tags={}, courier=courier)
    wait_until(lambda: not tracker.is_behind())
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tracker.log_metrics({"loss": 0.5}, 1)
        tracker.finish("FINISHED", hurried=lambda: True)
    (told,) = caplog.messages
    assert "1 metric point, the run's status. The last error: it was not waited for any longer" in told
    assert sync([str(tmp_path / NAME), "--runs-dir", str(tmp_path)]) == 0
    assert client(tmp_path).get_run(tracker.run_id).data.metrics == {"loss": 0.5}


@pytest.mark.slow
def test_a_store_that_does_not_answer_at_the_start_is_waited_for_with_a_word(
    tmp_path: Path, courier: Courier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("expkit.tracking.waiting.OPENING_SECONDS", 0.0)
    monkeypatch.setattr("expkit.tracking.courier._LOOK", 0.001)  # sooner than any store is opened
    with caplog.at_level(logging.INFO, "expkit.told"):
        open_tracker(settings(tmp_path), tmp_path / NAME, params={}, tags={}, courier=courier).close()
    assert any(
        f"Waiting for the tracking store {sqlite_uri(tmp_path / 'mlflow.db')}, " in one for one in caplog.messages
    )


def test_where_no_process_can_be_started_a_thread_sends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.delitem(sys.modules, "mlflow")
    with caplog.at_level(logging.WARNING, "expkit"), courier_for(None, wanted=True) as none:
        assert none is None
    assert "no process of its own can be started" in caplog.text


@pytest.mark.slow
def test_a_finish_that_ctrl_c_tore_is_made_good_by_the_next(tmp_path: Path, courier: Courier) -> None:
    tracker = open_tracker(settings(tmp_path), tmp_path / NAME, params={}, tags={}, courier=courier)
    os.kill(courier.pid, signal.SIGSTOP)  # so that the first call takes its time
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        tracker.finish("FINISHED")
    os.kill(courier.pid, signal.SIGCONT)
    tracker.finish("KILLED", "twice Ctrl-C")
    run = client(tmp_path).get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["status.reason"]) == ("KILLED", "twice Ctrl-C")


@pytest.mark.slow
def test_a_run_that_was_removed_from_the_store_is_made_there_anew(tmp_path: Path, courier: Courier) -> None:
    folder = tmp_path / NAME
    first = open_tracker(settings(tmp_path), folder, params={"a": 1}, tags={}, courier=courier)
    first.log_metrics({"loss": 0.5}, 1)
    first.finish("KILLED")
    client(tmp_path).delete_run(first.run_id)
    again = reopen_tracker(settings(tmp_path), folder, courier=courier)
    again.log_metrics({"loss": 0.25}, 2)
    again.finish("FINISHED")
    run = client(tmp_path).get_run(again.run_id)
    assert again.run_id != first.run_id
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 0.25}, {"a": "1"})


def test_none_is_started_where_it_would_be_of_no_use() -> None:
    import_mlflow()
    with courier_for(None, wanted=True) as here:
        assert here is None, "this process has MLflow already"
    with courier_for(None, wanted=False) as untracked:
        assert untracked is None


ALONE = """
import sys
sys.stderr = None  # as in a program without a console
from pathlib import Path
from expkit import experiment
from expkit.config import compose
experiment.run(compose(sys.argv[1:]), Path("runs/mnist_cnn/one"))
assert not {name.partition(".")[0] for name in sys.modules} & {"mlflow", "pandas", "sqlalchemy", "pyarrow"}
"""


@pytest.mark.slow
def test_a_script_with_everything_on_does_not_import_mlflow(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, forked=False)
    (tmp_path / "queue.py").write_text("raise SystemExit('not what expkit means')")
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "script.py"
    script.write_text(ALONE)
    done = subprocess.run(
        [sys.executable, str(script), *QUICK],
        cwd=tmp_path,
        env=line.environment | {"PYTHONWARNINGS": "always"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = line.mlflow_runs()
    assert run.info.status == "FINISHED"
    assert {"test/accuracy", "step/loss", "valid/accuracy"} <= run.data.metrics.keys()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it ends when it next reads")
def test_it_dies_with_a_killed_run_which_can_be_gone_on_with(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, forked=False)
    process = line.start(*QUICK, "trainer.epochs=50")
    checkpoint = "runs/mnist_cnn/*/checkpoints/index.json"
    wait_for(lambda: any(tmp_path.glob(checkpoint)), 60, process)
    (sender,) = children(process.pid)
    process.kill()
    process.communicate()
    until = time.monotonic() + 30
    while Path(f"/proc/{sender}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not children(process.pid)
    (run,) = line.runs()
    CommandLine(tmp_path)("resume", str(run.relative_to(tmp_path)), "trainer.epochs=3")
    (tracked,) = line.mlflow_runs()
    assert tracked.info.status == "FINISHED"
    history = json.loads((run / "history.json").read_text())
    assert history


@pytest.mark.slow
def test_ctrl_c_of_the_whole_terminal_leaves_the_runs_end_in_the_store(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, forked=False)
    process = line.start(*QUICK, "trainer.epochs=500", start_new_session=True)
    wait_for(lambda: any(tmp_path.glob("runs/mnist_cnn/*/checkpoints/index.json")), 60, process)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 75, "saved, to be gone on with"
    assert children(process.pid) == []
    (run,) = line.mlflow_runs()
    assert run.info.status == "KILLED"
    assert list((tmp_path / "runs").glob(".unsent/*")) == []
