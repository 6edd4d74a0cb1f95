"""A runs folder that is moved or copied: artifacts, models and resuming work in the new place."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from expkit.cli import relocate as verb
from expkit.errors import TrackingError
from expkit.lock import RunLock
from expkit.tracking import StoreSettings, open_tracker
from expkit.tracking.reading import open_reader
from expkit.tracking.relocation import find_move
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.conftest import QUICK, CommandLine


def client(runs: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(runs / "mlflow.db"))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Where a run with an artifact was tracked, a place where its runs folder lies now, and its id in MLflow."""
    folder = tmp_path_factory.mktemp("moving é")
    runs = folder / "old" / "runs"
    settings, run = StoreSettings(None, "demo", "a", runs, runs / "mlartifacts"), runs / "demo" / "a"
    tracker = open_tracker(settings, run, params={}, tags={"run.folder": str(run)})
    (run / "a.txt").write_text("a")
    tracker.log_artifact(run / "a.txt")
    tracker.finish()
    (folder / "old").rename(folder / "kept")
    return runs, folder / "kept/runs", tracker.run_id


def places(runs: Path) -> list[str]:
    """Return all that the store says of where things are."""
    with sqlite3.connect(runs / "mlflow.db") as connection:
        found = [
            row[0] for row in connection.execute("SELECT artifact_location FROM experiments WHERE name != 'Default'")
        ]
        found += [row[0] for row in connection.execute("SELECT artifact_uri FROM runs")]
        found += [row[0] for row in connection.execute("SELECT value FROM tags WHERE key = 'run.folder'")]
    connection.close()
    return found


def test_a_moved_folder_is_set_right_when_it_is_used(
    origin: tuple[Path, Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, kept, run = origin
    new = tmp_path / "new 100%" / "runs"
    shutil.copytree(kept, new)
    open_reader(None, new)
    assert caplog.text.count("were moved from") == 1
    assert all(new.as_uri() in place or str(new) in place for place in places(new))
    copied = client(new).download_artifacts(run, "a.txt", str(tmp_path))
    assert Path(copied).read_text() == "a"
    (copy,) = new.glob("mlflow.db.before-move-*")
    with sqlite3.connect(copy) as connection:
        (before,) = connection.execute("SELECT artifact_uri FROM runs").fetchone()
    connection.close()
    assert before.startswith(old.as_uri())
    caplog.clear()
    open_reader(None, new)
    assert caplog.text == ""


def test_a_copy_is_left_until_the_user_says_so(
    origin: tuple[Path, Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (old, kept, _), new = origin, tmp_path / "new/runs"
    shutil.copytree(kept, new)
    shutil.copytree(kept, old)
    open_reader(None, new)
    assert f"To make the copy stand by itself: python -m expkit relocate --runs-dir {new}" in caplog.text
    assert all("/old/" in place for place in places(new))
    assert find_move(old / "mlflow.db") is None
    assert verb.main(["--runs-dir", str(new)]) == 0
    assert f"{old} -> {new}\n3 places" in capsys.readouterr().out
    assert all(str(new) in place for place in places(new))
    assert all("/old/" in place for place in places(old))
    shutil.rmtree(old.parent)
    verb.main(["--runs-dir", str(new)])
    assert "is right as it is" in capsys.readouterr().out


def test_nothing_is_changed_while_a_run_is_trained_there(origin: tuple[Path, Path, str], tmp_path: Path) -> None:
    new = tmp_path / "new/runs"
    shutil.copytree(origin[1], new)
    hold = (
        "import sys; from pathlib import Path; from expkit.lock import RunLock\n"
        "with RunLock(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(new / "demo/a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(TrackingError, match=r"while .*demo/a is being trained.*expkit relocate --runs-dir"):
            verb.main(["--runs-dir", str(new)])
        assert all("/old/" in place for place in places(new))
        process.communicate(b"")
    with RunLock(new / "demo/a"):  # one's own lock is no hindrance
        verb.main(["--runs-dir", str(new)])
    assert all("/new/" in place for place in places(new))


def test_a_kill_in_the_middle_leaves_the_old_whole(origin: tuple[Path, Path, str], tmp_path: Path) -> None:
    new = tmp_path / "new/runs"
    shutil.copytree(origin[1], new)
    killed = (
        "import os, sys\nfrom expkit.cli import relocate\nfrom expkit.tracking import relocation\n"
        "whole = relocation._replace\n"
        "def torn(connection, table, *more):\n"
        "    if table == 'tags': os._exit(9)\n"
        "    return whole(connection, table, *more)\n"
        "relocation._replace = torn\nrelocate.main(['--runs-dir', sys.argv[1]])"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(new)]).returncode == 9
    assert all("/old/" in place for place in places(new))
    assert verb.main(["--runs-dir", str(new)]) == 0
    assert all("/new/" in place for place in places(new))


@pytest.mark.slow  # two starts of a run and a served model
def test_a_project_that_was_moved_goes_on(expkit: CommandLine) -> None:
    expkit(
        *QUICK,
        "trainer.epochs=2",
        "trainer.stop_after=1",
        "plots=none",
        "model=mlp",
        f"runs_dir={expkit.folder / 'runs'}",
    )
    moved = expkit.folder.with_name("moved")
    expkit.folder.rename(moved)
    expkit.folder = moved
    done = expkit("resume", "last", "trainer.stop_after=null")
    assert done.stderr.count("were moved from") == 1
    (run,) = expkit.mlflow_runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["run.folder"] == str(expkit.runs()[0])
    assert run.info.artifact_uri.startswith((moved / "runs/mlartifacts").as_uri())
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(sqlite_uri(moved / "runs/mlflow.db"))
    again = moved.with_name("again")
    moved.rename(again)
    expkit.folder = again
    open_reader(None, again / "runs")
    mlflow.set_tracking_uri(sqlite_uri(again / "runs/mlflow.db"))
    (model,) = client(again / "runs").search_logged_models([run.info.experiment_id])
    assert model.artifact_location.startswith(again.as_uri())
    import numpy as np

    answers = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict(np.zeros((1, 28, 28), np.uint8))
    assert len(answers) == 1
