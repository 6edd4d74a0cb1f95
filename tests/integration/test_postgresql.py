"""A store in a real PostgreSQL, where its programs and a driver are installed; nothing is installed for it."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expkit.tracking.store import import_mlflow
from tests.integration.conftest import QUICK, CommandLine

PASSWORD = f"p@ss/{secrets.token_hex(4)}"
QUOTED = PASSWORD.replace("@", "%40").replace("/", "%2F")
OPEN = """
import os, sys
from pathlib import Path
from expkit.tracking.store import StoreSettings, import_all_of_mlflow, open_store
import psycopg2
uri, folder = sys.argv[1:]
import_all_of_mlflow()
starting, start = os.pipe()
children = []
for number in range(8):
    if not (child := os.fork()):
        os.close(start)
        os.read(starting, 1)  # until the parent closes its end
        store = open_store(StoreSettings(uri, "demo", "", Path(folder), Path(folder) / "mlartifacts"))
        run = store.client.create_run(store.experiment_id, run_name=f"run{number}")
        store.client.log_metric(run.info.run_id, "loss", 0.5)
        os._exit(0)
    children.append(child)
os.close(start)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""

pytestmark = pytest.mark.slow


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs."""
    found = shutil.which("initdb")
    folders = [str(Path(found).parent)] if found else sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    return Path(folders[-1]) if folders else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URI of a server of our own, without the name of a database."""
    found = programs()
    if found is None:
        pytest.skip("there is no initdb: install PostgreSQL to run this test")
    pytest.importorskip("psycopg2", reason="PostgreSQL's driver is not installed: pip install psycopg2-binary")
    as_user: dict[str, Any] = {}
    if os.getuid() == 0:  # whom PostgreSQL refuses
        try:
            as_user = {"user": pwd.getpwnam("postgres").pw_uid, "group": pwd.getpwnam("postgres").pw_gid}
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # sockets have short paths
    if as_user:
        os.chown(folder, as_user["user"], as_user["group"])
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    with (folder / "log").open("w+") as log:
        make = [found / "initdb", "-D", folder / "data", "-U", "me", "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*map(str, make), "--no-sync"], check=True, stdout=log, stderr=log, cwd="/", **as_user)
        port = str(20000 + os.getpid() % 20000)
        run = [found / "postgres", "-D", folder / "data", "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        process = subprocess.Popen([*map(str, run), "-F"], stdout=log, stderr=log, cwd="/", **as_user)
        try:
            uri = f"postgresql+psycopg2://me:{QUOTED}@127.0.0.1:{port}"
            wait_for_answer(uri, process)
            yield uri
        finally:
            process.send_signal(signal.SIGINT)  # does not wait for clients, such as MLflow's in this process
            process.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


def wait_for_answer(uri: str, process: subprocess.Popen[bytes]) -> None:
    import psycopg2

    for _ in range(300):
        assert process.poll() is None, "PostgreSQL has ended"
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(f"{uri}/postgres".replace("+psycopg2", "")).close()
            return
        time.sleep(0.1)
    pytest.fail("PostgreSQL does not answer")


@pytest.fixture
def database(server: str, tmp_path: Path) -> str:
    """URI of a fresh database."""
    import psycopg2

    name = f"db_{secrets.token_hex(4)}"
    connection = psycopg2.connect(f"{server}/postgres".replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{server}/{name}"


def test_eight_processes_open_a_fresh_database_at_the_same_instant(database: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, database, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{[0] * 8}\n", done.stderr
    client = import_mlflow().MlflowClient(database, registry_uri=database)
    experiment = client.get_experiment_by_name("demo")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"run{i}" for i in range(8)]
    assert [run.data.metrics["loss"] for run in runs] == [0.5] * 8


def test_a_run_goes_on_with_the_password_of_the_environment(database: str, expkit: CommandLine) -> None:
    short = (*QUICK, "trainer.epochs=2", "trainer.stop_after=1", "plots=none", "export=none", "model=mlp")
    begun = expkit(*short, f"tracking.uri={database}")
    refused = expkit("resume", "last", "trainer.stop_after=null", code=2)
    assert "me:***@127.0.0.1" in refused.stderr
    assert "MLFLOW_TRACKING_URI or PGPASSWORD" in refused.stderr
    expkit.environment["PGPASSWORD"] = PASSWORD
    done = expkit("resume", "last", "trainer.stop_after=null")
    client = import_mlflow().MlflowClient(database, registry_uri=database)
    (run,) = client.search_runs([client.get_experiment_by_name("mnist_cnn").experiment_id])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "valid/loss")] == [1, 2]
    files = [path for path in (expkit.folder / "runs").rglob("*") if path.is_file()]
    wanted = (PASSWORD.encode(), QUOTED.encode())
    assert [path for path in files if any(one in path.read_bytes() for one in wanted)] == []
    printed = "".join((begun.stdout, begun.stderr, refused.stdout, refused.stderr, done.stdout, done.stderr))
    assert PASSWORD not in printed
    assert QUOTED not in printed
