"""Whatever happens to a store, a network or a process: what a run told is in the store in the end, once."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from expkit.cli.sync import main as sync
from expkit.errors import TrackingError
from expkit.tracking import StoreSettings, Tracker, open_tracker, reopen_tracker
from expkit.tracking.delivery import Delivery
from expkit.tracking.journal import JOURNAL, read_journal
from expkit.tracking.left_behind import left_behind, send_left_behind
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.conftest import QUICK, CommandLine
from tests.integration.tracked import begin, wait_for


def settings(runs: Path, **more: Any) -> StoreSettings:
    return StoreSettings(None, "demo", "run", runs, runs / "mlartifacts", **more)


def client(runs: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(runs / "mlflow.db"))


def points(runs: Path, run_id: str, metric: str = "loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(runs).get_metric_history(run_id, metric)]


def only_run(runs: Path, experiment: str = "demo") -> Any:
    store = client(runs)
    (run,) = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
    return run


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Keep everybody from writing to a SQLite store."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


HASTY = """
import sys
from pathlib import Path
from expkit.tracking import StoreSettings, open_tracker
runs = Path(sys.argv[1])
settings = StoreSettings(None, "demo", "run", runs, runs / "mlartifacts")
tracker = open_tracker(settings, runs / "demo" / "20260101-120000-abcdef", params={"a": 1}, tags={})
print("begun", flush=True)
sys.stdin.readline()
for step in range(5_000):
    tracker.log_metrics({"loss": step / 7}, step)
print("told", flush=True)
sys.stdin.readline()
"""


def test_a_process_that_is_killed_before_the_store_took_anything_loses_nothing(tmp_path: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", HASTY, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    assert killed.stdin is not None
    with killed.stdout, killed.stdin:
        assert killed.stdout.readline() == "begun\n"
        with locked(tmp_path / "mlflow.db"):
            print(file=killed.stdin, flush=True)
            assert killed.stdout.readline() == "told\n"
            killed.kill()
            killed.wait()
    assert len(list(left_behind(tmp_path))) == 1
    assert send_left_behind(settings(tmp_path)) == 1
    run = only_run(tmp_path)
    assert points(tmp_path, run.info.run_id) == [(step, step / 7) for step in range(5_000)]
    assert run.info.status == "FAILED"
    assert "its process died" in run.data.tags["status.reason"]
    assert "python -m expkit resume" in run.data.tags["status.reason"]
    assert list(left_behind(tmp_path)) == []
    assert send_left_behind(settings(tmp_path)) == 0


def test_the_next_run_sends_what_earlier_ones_left_behind(tmp_path: Path) -> None:
    first = begin(settings(tmp_path))
    with locked(tmp_path / "mlflow.db"):
        first.log_metrics({"loss": 0.5}, 1)
    abandon(first)
    second = begin(settings(tmp_path))
    wait_for(lambda: client(tmp_path).get_run(first.run_id).info.status == "FAILED")
    second.finish()
    assert points(tmp_path, first.run_id) == [(1, 0.5)]
    assert client(tmp_path).get_run(second.run_id).info.status == "FINISHED"


def abandon(tracker: Tracker) -> None:
    """Leave a run as a process does that is killed: its thread ends, and nobody says so."""
    carrier = tracker._carrier
    assert carrier is not None
    carrier.close()


@pytest.mark.parametrize("after", [False, True], ids=["before the store took it", "after"])
def test_sending_that_is_cut_short_anywhere_stores_each_thing_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    tracker = begin(settings(tmp_path, enabled=False), params={f"p{i}": i for i in range(150)}, description="# card")
    for step in range(2500):
        tracker.log_metrics({"loss": step}, step)
    (tmp_path / "a.txt").write_text("a")
    tracker.log_artifact(tmp_path / "a.txt")
    tracker.log_text("b", "texts/b.txt")
    tracker.set_tags({"tag": "value"})
    tracker.finish("KILLED", "enough")
    (folder,) = [path.parent for path in tmp_path.rglob(JOURNAL)]
    kind = type(client(tmp_path))
    places = [("create_run", 0), *(("log_batch", count) for count in (0, 1, 2, 1)), ("log_artifact", 0)]
    places += [("log_artifact", 1), ("set_terminated", 0)]
    torn = 0
    for name, count in places:
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(kind, name, cut(getattr(kind, name), count, after))
            Delivery(folder, settings(tmp_path)).deliver()
            torn -= 1
        torn += 1
    assert torn >= 6
    Delivery(folder, settings(tmp_path)).deliver()
    run = only_run(tmp_path)
    assert len(run.data.params) == 150
    assert points(tmp_path, run.info.run_id) == [(step, step) for step in range(2500)]
    assert (run.data.tags["tag"], run.data.tags["mlflow.note.content"]) == ("value", "# card")
    assert {item.path for item in client(tmp_path).list_artifacts(run.info.run_id)} == {"a.txt", "texts"}
    assert (run.info.status, run.data.tags["status.reason"]) == ("KILLED", "enough")


def cut(call: Callable[..., Any], count: int, after: bool) -> Callable[..., Any]:
    left = [count]

    def torn(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and not after:
            raise KeyboardInterrupt
        answer = call(*arguments, **options)
        if left[0] < 0:
            raise KeyboardInterrupt
        return answer

    return torn


@pytest.mark.slow
def test_a_run_without_a_store_is_in_mlflow_after_sync(expkit: CommandLine) -> None:
    expkit(*QUICK, "tracking=none")
    assert not (expkit.folder / "runs" / "mlflow.db").exists()
    done = expkit("sync", "last")
    assert done.stderr == ""
    assert "the exported model" in done.stdout
    assert "1 run: 1 sent" in done.stdout
    (run,) = expkit.mlflow_runs()
    (folder,) = expkit.runs()
    assert json.loads((folder / "run.json").read_text())["mlflow_run_id"] == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "cnn"
    assert len(run.inputs.dataset_inputs) == 3
    assert len(run.outputs.model_outputs) == 1
    losses = [row.split(",") for row in (folder / "steps.csv").read_text().splitlines()[1:]]
    stored = points(expkit.folder / "runs", run.info.run_id, "step/loss")
    assert stored == [(int(step), float(loss)) for step, loss, _ in losses]
    assert "1 had all in the store" in expkit("sync", "all").stdout
    (expkit.folder / "runs" / "mlflow.db").unlink()
    assert "1 run: 1 sent" in expkit("sync", "all").stdout
    assert points(expkit.folder / "runs", expkit.mlflow_runs()[0].info.run_id, "step/loss") == stored


@pytest.mark.slow
def test_a_run_begins_without_its_server_where_that_is_not_required(expkit: CommandLine) -> None:
    server = "tracking.uri=http://127.0.0.1:9"
    refused = expkit(*QUICK, server, code=2)
    assert "tracking.required=false" in refused.stderr
    done = expkit(*QUICK, server, "tracking.required=false", "export=none", "plots=none")
    assert "Not stored in http://127.0.0.1:9" in done.stderr
    assert "python -m expkit sync" in done.stderr
    assert expkit.record()["status"] == "FINISHED"
    failed = expkit("sync", "last", code=1)
    assert "Connection refused" in failed.stdout
    assert "1 not sent" in failed.stdout
    expkit("sync", "last", "--uri", sqlite_uri(expkit.folder / "runs" / "mlflow.db"))
    (run,) = expkit.mlflow_runs()
    assert run.info.status == "FINISHED"


def test_what_goes_another_way_again_is_recorded_once(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    tracker = open_tracker(settings(tmp_path), folder, params={}, tags={})
    for step in range(10):
        tracker.log_metrics({"loss": step}, step)
    tracker.finish("KILLED", "stopped")
    again = reopen_tracker(settings(tmp_path), folder)
    for step in range(5, 15):
        again.log_metrics({"loss": step, "late": step}, step)
    again.finish()
    assert again.run_id == tracker.run_id
    assert points(tmp_path, again.run_id) == [(step, step) for step in range(15)]
    assert points(tmp_path, again.run_id, "late") == [(step, step) for step in range(5, 15)]
    run = client(tmp_path).get_run(again.run_id)
    assert run.info.status == "FINISHED"
    assert "status.reason" not in run.data.tags


def test_results_that_are_measured_again_are_recorded_once_and_others_are_new_points(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    results = [{"test/loss": math.nan, "test/accuracy": 0.5, "valid/best_epoch": 1.0}] * 3  # killed twice after these
    results.append({"test/loss": 0.25, "test/accuracy": 0.5, "valid/best_epoch": 2.0})  # trained for longer
    for number, result in enumerate(results):
        make = reopen_tracker if number else partial(open_tracker, params={}, tags={})
        tracker = make(settings(tmp_path), folder)
        tracker.log_metrics({"test/curve": 1.0}, 5)  # of a callback, which has more than one point
        tracker.log_metrics({**result, "test/curve": 1.0}, 0)
        tracker.close()
    assert points(tmp_path, tracker.run_id, "test/accuracy") == [(0, 0.5)]
    assert points(tmp_path, tracker.run_id, "valid/best_epoch") == [(0, 1.0), (0, 2.0)]
    assert len(points(tmp_path, tracker.run_id, "test/loss")) == 2
    assert sorted(points(tmp_path, tracker.run_id, "test/curve")) == [(0, 1.0), (5, 1.0)]


def test_a_store_that_another_locks_is_waited_for_with_a_word_and_can_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("expkit.tracking.waiting.QUIET_SECONDS", 0.2)  # instead of some seconds
    monkeypatch.setattr("expkit.tracking.waiting.GRACE_SECONDS", 0.1)
    tracker = begin(settings(tmp_path))
    tracker.set_tags({"a": "b"})
    with locked(tmp_path / "mlflow.db"), caplog.at_level("INFO", "expkit"):
        tracker.log_metrics({"loss": 1.0, "accuracy": 0.5}, 1)
        tracker.finish(hurried=lambda: "Waiting for" in caplog.text)
    waiting, told = caplog.messages
    assert "mlflow.db to take what it lacks (2 metric points, " in waiting
    for said in (waiting, told):
        assert f"python -m expkit sync {tmp_path / 'runs'}" in said
    assert "it was not waited for any longer" in told
    assert sync(["all", "--runs-dir", str(tmp_path)]) == 0
    assert points(tmp_path, tracker.run_id) == [(1, 1.0)]


def test_a_line_that_a_crash_cut_short_costs_that_line_only(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    open_tracker(settings(tmp_path, enabled=False), folder, params={}, tags={}).finish()
    with (folder / JOURNAL).open("a") as file:
        file.write('{"do":"metrics","time":1,"step":7,"val')
    again = reopen_tracker(settings(tmp_path), folder)
    again.log_metrics({"loss": 1.0}, 7)
    again.finish()
    assert points(tmp_path, again.run_id) == [(7, 1.0)]


def test_a_full_disk_keeps_nothing_from_the_store_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = begin(settings(tmp_path))
    write = os.write
    with monkeypatch.context() as patch:

        def partly(file: int, data: bytes) -> int:
            if not data.startswith(b'{"do"'):
                return write(file, data)
            if len(data) > 200:
                raise OSError(28, "No space left on device")
            return write(file, data[:20])

        patch.setattr(os, "write", partly)
        for step in range(10):
            tracker.log_metrics({"loss": step}, step)
    tracker.log_metrics({"loss": 10}, 10)
    tracker.finish()
    (folder,) = [path.parent for path in tmp_path.rglob(JOURNAL)]
    assert [one.facts["step"] for one in read_journal(folder) if one.what == "metrics"] == list(range(11))
    assert points(tmp_path, tracker.run_id) == [(step, step) for step in range(11)]


def test_a_parameter_that_has_changed_is_a_tag(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    open_tracker(settings(tmp_path), folder, params={"epochs": 3, "seed": 1}, tags={}).finish()
    (folder / JOURNAL).unlink()
    open_tracker(settings(tmp_path), folder, params={"epochs": 5, "seed": 1}, tags={}).finish()
    run = only_run(tmp_path)
    assert run.data.params == {"epochs": "3", "seed": "1"}
    assert run.data.tags["changed.epochs"] == "3 -> 5"


def test_a_run_that_was_deleted_is_not_brought_back_behind_its_owners_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = begin(settings(tmp_path))
    client(tmp_path).delete_run(tracker.run_id)
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.finish()
    assert sync(["all", "--runs-dir", str(tmp_path)]) == 1
    assert f"mlflow runs restore --run-id {tracker.run_id}" in capsys.readouterr().out
    client(tmp_path).restore_run(tracker.run_id)
    assert sync(["all", "--runs-dir", str(tmp_path)]) == 0
    assert points(tmp_path, tracker.run_id) == [(1, 1.0)]


def test_two_stores_each_know_what_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = begin(settings(tmp_path))
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.finish()
    other = ["--uri", sqlite_uri(tmp_path / "other.db")]
    assert sync(["all", "--runs-dir", str(tmp_path), *other]) == 0
    assert "1 sent" in capsys.readouterr().out
    for which in ([], other, ["--uri", sqlite_uri(tmp_path / "mlflow.db")]):
        assert sync(["all", "--runs-dir", str(tmp_path), *which]) == 0
        assert "1 had all in the store" in capsys.readouterr().out


def test_a_copy_of_a_run_does_not_write_into_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, copy = tmp_path / "demo" / "20260101-120000-abcdef", tmp_path / "demo" / "copy-of-it"
    first = open_tracker(settings(tmp_path), folder, params={"a": 1}, tags={"run.folder": str(folder)})
    first.log_metrics({"loss": 1.0}, 1)
    first.finish()
    shutil.copytree(folder, copy)
    assert sync([str(copy.parent), "--runs-dir", str(tmp_path)]) == 0
    assert "a copy of" in capsys.readouterr().out
    second = reopen_tracker(settings(tmp_path), copy)
    second.log_metrics({"loss": 2.0}, 2)
    second.finish()
    assert second.run_id != first.run_id
    assert points(tmp_path, first.run_id) == [(1, 1.0)]
    assert points(tmp_path, second.run_id) == [(1, 1.0), (2, 2.0)]
    shutil.rmtree(folder)
    moved = copy.rename(tmp_path / "demo" / "moved")
    third = reopen_tracker(settings(tmp_path), moved)
    third.finish()
    assert third.run_id == second.run_id, "a run that was moved stays what it is"


def test_lines_that_this_version_does_not_know_cost_themselves_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    open_tracker(settings(tmp_path, enabled=False), folder, params={}, tags={}).finish()
    lines = (folder / JOURNAL).read_text().splitlines()
    odd = [
        '{"do":"nonsense"}',
        '{"do":"metrics","step":1}',
        "[]",
        '{"do":"metrics","step":2,"time":1,"values":{"loss":3}}',
    ]
    (folder / JOURNAL).write_text("\n".join([lines[0], *odd, *lines[1:]]) + "\n")
    assert sync(["all", "--runs-dir", str(tmp_path)]) == 0
    run = only_run(tmp_path)
    assert (run.info.status, points(tmp_path, run.info.run_id)) == ("FINISHED", [(2, 3.0)])


def test_a_journal_that_lost_its_end_asks_the_record_how_the_run_ended(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "20260101-120000-abcdef"
    open_tracker(settings(tmp_path, enabled=False), folder, params={}, tags={}).finish()
    (folder / JOURNAL).write_text((folder / JOURNAL).read_text()[:-20])
    (folder / "run.json").write_text(json.dumps({"id": folder.name, "status": "FINISHED"}))
    assert sync([str(folder), "--runs-dir", str(tmp_path)]) == 0
    assert only_run(tmp_path).info.status == "FINISHED"


def test_sync_says_what_it_cannot_find(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(Exception, match="has no runs"):
        sync(["all", "--runs-dir", str(tmp_path / "runs")])
    with pytest.raises(Exception, match="there are no runs"):
        sync(["last", "--runs-dir", str(tmp_path / "runs")])


# --- a server ------------------------------------------------------------------------------------------------------


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real MLflow server on a store in `folder`."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", sqlite_uri(folder / "server.db")),
        *("--artifacts-destination", (folder / "served").as_uri()),
    ]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder)
        try:
            wait_for(lambda: answers(port), 120)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_a_server_that_is_gone_for_a_while_in_mid_training_loses_nothing(expkit: CommandLine) -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    long = (
        *QUICK[:1],
        "model=mlp",
        "dataset.download=false",
        "trainer.epochs=80",
        "plots=none",
        "trainer.progress=off",
    )
    with server(expkit.folder, port):
        run = expkit.start(*long, f"tracking.uri=http://127.0.0.1:{port}")
        store = import_mlflow().MlflowClient(f"http://127.0.0.1:{port}")
        wait_for(lambda: run.poll() is not None or steps_in(store), 120)
        assert run.poll() is None, run.communicate()
    before = (expkit.runs()[0] / JOURNAL).stat().st_size
    time.sleep(25)  # for two tries in vain, which are ten seconds apart
    assert run.poll() is not None or (expkit.runs()[0] / JOURNAL).stat().st_size > before, "training goes on"
    with server(expkit.folder, port):
        out, err = run.communicate(timeout=400)
        assert run.returncode == 0, out + err
        assert "Training goes on" in err
        expkit("sync", "last")
        (found,) = store.search_runs([store.get_experiment_by_name("mnist_cnn").experiment_id])
        (folder,) = expkit.runs()
        losses = [row.split(",")[:2] for row in (folder / "steps.csv").read_text().splitlines()[1:]]
        stored = all_points(expkit.folder / "server.db", found.info.run_id, "step/loss")
        assert stored == [(int(step), float(loss)) for step, loss in losses]
        assert found.info.status == "FINISHED"
        assert {item.path for item in store.list_artifacts(found.info.run_id)} >= {"checkpoints", "config", "run.log"}
        assert len(found.outputs.model_outputs) == 1


def steps_in(store: Any) -> bool:
    experiment = store.get_experiment_by_name("mnist_cnn")
    runs = store.search_runs([experiment.experiment_id]) if experiment else []
    return bool(runs and "step/loss" in runs[0].data.metrics)


def all_points(database: Path, run_id: str, metric: str) -> list[tuple[int, float]]:
    """All rows of a metric: what a server gives out is cut at 25,000."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step", (run_id, metric)
        )
        return [(int(step), float(value)) for step, value in rows]


def test_a_store_that_cannot_be_reached_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"tracking\.kind=none"):
        begin(StoreSettings("http://127.0.0.1:9", "demo", "run", tmp_path, tmp_path / "mlartifacts"))
    assert list(tmp_path.iterdir()) == []
