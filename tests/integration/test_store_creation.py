"""A process that is killed while it makes a store costs the next one nothing; what MLflow left half made is told."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from expkit.errors import TrackingError
from expkit.tracking import StoreSettings
from expkit.tracking.creation import unfinished
from expkit.tracking.health import look_at
from expkit.tracking.reading import open_reader
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.tracked import begin

KILLED = """
import importlib, os, signal, sys
from pathlib import Path
import sqlalchemy
from expkit.tracking.store import StoreSettings, import_mlflow, open_store, sqlite_uri

def by_expkit(folder):
    open_store(StoreSettings(None, "demo", "run", folder, folder / "mlartifacts"))

def by_mlflow(folder):
    import_mlflow().MlflowClient(sqlite_uri(folder / "mlflow.db")).search_experiments()

def die(connection, cursor, statement, *_):
    if "CREATE TABLE registered_models" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

import_mlflow()
for name in ("mlflow.store.tracking.sqlalchemy_store", "alembic.command"):
    importlib.import_module(name)
for make in (by_expkit, by_mlflow):
    folder = Path(sys.argv[1]) / make.__name__
    folder.mkdir()
    child = os.fork()
    if not child:
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "after_cursor_execute", die)
        make(folder)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def settings(folder: Path) -> StoreSettings:
    return StoreSettings(None, "demo", "run", folder, folder / "mlartifacts")


def statuses(folder: Path) -> list[str]:
    client: Any = import_mlflow().MlflowClient(sqlite_uri(folder / "mlflow.db"))
    return [run.info.status for run in client.search_runs(["1"])]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders in which a process died in the middle of the tables: expkit's, and one that MLflow lets make them."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_kill_while_the_store_is_made_costs_the_next_run_nothing(killed: Path) -> None:
    folder = killed / "by_expkit"
    assert [path.name for path in folder.iterdir()] == ["mlflow.db.lock"]
    assert not look_at(None, folder).error
    begin(settings(folder)).finish()
    assert statuses(folder) == ["FINISHED"]
    assert look_at(None, folder).runs == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_store_that_mlflow_left_half_made_is_told_with_what_mends_it(killed: Path) -> None:
    folder = killed / "by_mlflow"
    file = folder / "mlflow.db"
    move = f"mv {shlex.quote(str(file))} {shlex.quote(str(file))}.broken"
    sync = f"python -m expkit sync all --runs-dir {shlex.quote(str(folder))}"
    told = f"already exists. A process that made its tables was killed; no run is in it. Move it away ({move})"
    for use in (lambda: begin(settings(folder)), lambda: open_reader(None, folder)):
        with pytest.raises(TrackingError) as caught:
            use()
        assert told in str(caught.value) and sync in str(caught.value)
    health = look_at(None, folder)
    assert "half made" in health.error and move in health.advice and sync in health.advice
    subprocess.run(move, shell=True, check=True)
    moved = folder.with_name("moved")  # this process has the old file open
    shutil.copytree(folder, moved)
    begin(settings(moved)).finish()
    assert statuses(moved) == ["FINISHED"]


def test_a_half_upgraded_store_with_runs_is_not_said_to_be_empty(tmp_path: Path) -> None:
    begin(settings(tmp_path)).finish()
    told = unfinished(tmp_path / "mlflow.db", "(sqlite3.OperationalError) duplicate column name: creator")
    assert told.startswith("An upgrade of its tables was cut short. Bring back the copy that was made before it.")
    assert "What did not come from expkit is then in the old file only." in told
    assert unfinished(tmp_path / "mlflow.db", "database is locked") == ""


def test_a_file_that_holds_nothing_becomes_a_store_and_stays_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.touch(0o600)
    before = file.stat()
    begin(settings(tmp_path)).finish()
    assert (file.stat().st_ino, file.stat().st_mode) == (before.st_ino, before.st_mode)
    assert statuses(tmp_path) == ["FINISHED"]
