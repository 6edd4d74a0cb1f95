"""The verb `ui`: a real server, asked as a browser would, ended as a user would."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expkit.cli import ui
from expkit.errors import ConfigError, TrackingError
from expkit.tracking import StoreSettings
from expkit.tracking.operations import RUN_ID
from expkit.tracking.view import sweep_state, sweep_view
from tests.integration.tracked import begin

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 32
LAUNCH = "import sys; from expkit.cli.ui import main; sys.exit(main(sys.argv[1:]))"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def fetch(address: str, body: dict[str, Any] | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    with opener.open(request, timeout=20) as answer:
        return bytes(answer.read())


def processes_of(marker: str) -> list[str]:
    """Command lines of living processes that name `marker`."""
    lines = subprocess.run(["ps", "-ww", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in lines.splitlines() if marker in line and " Z" not in line]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with one run that has a picture."""
    folder = tmp_path_factory.mktemp("ui runs é#1 100%20?")  # all that a URI may be misread for
    settings = StoreSettings(None, "mnist_cnn", "cnn-adam", folder, folder / "mlartifacts")
    tracker = begin(settings, params={"model": "cnn"}, tags={}, description="# card")
    (folder / "loss.png").write_bytes(PNG)
    tracker.log_artifact(folder / "loss.png", "plots")
    tracker.log_metrics({"loss": float("nan"), "accuracy": 0.9}, step=1)
    tracker.show_sweep(sweep_view("ab12cd"), sweep_state(RUN_ID, ["model"], ["valid/best_accuracy"]))
    tracker.finish()
    return folder, tracker.run_id


@pytest.fixture(scope="module")
def page(runs: tuple[Path, str]) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The running verb, its port, and the line that it printed."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, "--runs-dir", str(runs[0]), "--port", str(port), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, port, process.stdout.readline()
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def test_page_api_and_pictures_are_served(runs: tuple[Path, str], page: tuple[subprocess.Popen[str], int, str]) -> None:
    folder, run_id = runs
    _, port, line = page
    address = f"http://127.0.0.1:{port}"
    shown = re.search(r"http\S+", line)
    assert shown is not None
    experiment = rf"{address}/#/experiments/\d+/runs"
    assert re.fullmatch(experiment + r"\?workflowType=machine_learning&viewStateShareKey=expkit", shown[0])
    assert str(folder) in line

    assert b"<title>MLflow</title>" in fetch(address)
    answer = json.loads(fetch(f"{address}/api/2.0/mlflow/runs/get?run_id={run_id}"))
    assert answer["run"]["info"]["status"] == "FINISHED"
    assert {m["key"]: m["value"] for m in answer["run"]["data"]["metrics"]} == {
        "loss": "NaN",
        "accuracy": 0.9,
    }
    assert fetch(f"{address}/get-artifact?path=plots%2Floss.png&run_uuid={run_id}") == PNG


def test_a_run_can_be_tracked_through_the_server(page: tuple[Any, int, str], tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{page[1]}"
    settings = StoreSettings(address, "by_server", "cnn-sgd", tmp_path, tmp_path / "unused")
    tracker = begin(settings, params={f"p{i}": i for i in range(120)}, tags={}, description="")
    (tmp_path / "a.txt").write_text("a")
    tracker.log_metrics({"loss": float("inf"), "nan": float("nan")}, step=1)
    tracker.log_artifact(tmp_path / "a.txt")
    tracker.finish()
    run = json.loads(fetch(f"{address}/api/2.0/mlflow/runs/get?run_id={tracker.run_id}"))["run"]
    assert run["info"]["status"] == "FINISHED"
    assert len(run["data"]["params"]) == 120
    assert {m["key"] for m in run["data"]["metrics"]} == {"loss", "nan"}
    assert not (tmp_path / "unused").exists(), "the server chooses where artifacts lie"


def test_the_page_of_a_server_is_named_and_nothing_started(
    page: tuple[Any, int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{page[1]}"
    assert ui.main(["--uri", address, "--no-browser", "--sweep", "ab12cd"]) == 0
    assert re.search(rf"{address}/#/experiments/\d+/runs\?\S*sweep-ab12cd", capsys.readouterr().out)


def test_ctrl_c_ends_the_server_and_all_its_processes(page: tuple[subprocess.Popen[str], int, str]) -> None:
    process, port, _ = page
    assert len(processes_of(f"--port {port}")) >= 2, "the verb and its server"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "the runs stay" in out
    deadline = time.monotonic() + 30
    while processes_of(f"--port {port}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(f"--port {port}") == []
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.slow
def test_a_sweep_is_shown_by_its_id_or_folder(runs: tuple[Path, str]) -> None:
    sweep = "runs/mnist_cnn/sweep-20260101-120000-ab12cd/"
    command = [sys.executable, "-c", LAUNCH, "--runs-dir", str(runs[0]), "--no-browser", "--sweep", sweep]
    process = subprocess.Popen([*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert re.search(r"/#/experiments/\d+/runs\?\S*viewStateShareKey=sweep-ab12cd&compareRunsMode=CHART", line)


@pytest.mark.slow
def test_another_store_is_shown_by_its_uri(runs: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine.db").write_bytes((runs[0] / "mlflow.db").read_bytes())
    store = f"sqlite:///{folder / 'mine.db'}"
    command = [sys.executable, "-c", LAUNCH, "--uri", store, "--no-browser", "--sweep", "ab12cd"]
    process = subprocess.Popen([*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert store in line
        page = re.search(r"(http\S+)/#/experiments/(\d+)/runs\?\S*viewStateShareKey=sweep-ab12cd", line)
        assert page is not None
        answer = json.loads(fetch(f"{page[1]}/api/2.0/mlflow/experiments/get?experiment_id={page[2]}"))
        assert answer["experiment"]["name"] == "mnist_cnn"
    finally:
        process.terminate()
        process.communicate(timeout=30)
    with pytest.raises(TrackingError, match=r"no tracking store .*none\.db"):
        ui.main(["--uri", f"sqlite:///{folder / 'none.db'}"])


def test_a_sweep_that_the_store_does_not_have_is_refused(runs: tuple[Path, str]) -> None:
    with pytest.raises(TrackingError, match=r"--sweep ffffff: .* has no such sweep\. Its id is the end of its folder"):
        ui.main(["--runs-dir", str(runs[0]), "--sweep", "ffffff"])


def test_no_store_says_to_run_an_experiment_first(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"no tracking store .*mlflow\.db: run an experiment first"):
        ui.main(["--runs-dir", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_that_was_asked_for_is_an_error_with_another(runs: tuple[Path, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} on 127\.0\.0\.1 is taken.* Try --port \d+"):
            ui.main(["--runs-dir", str(runs[0]), "--port", str(port)])


def test_an_address_of_another_machine_is_an_error(runs: tuple[Path, str]) -> None:
    with pytest.raises(ConfigError, match="not an address of this machine"):
        ui.main(["--runs-dir", str(runs[0]), "--host", "192.0.2.1"])


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_is_a_usage_error(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ui.main(["--port", port])
    assert ended.value.code == 2
    assert "from 1 to 65535" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            LAUNCH,
            "--runs-dir",
            str(tmp_path),
            "--port",
            str(free_port()),
            "--no-browser",
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert process.returncode == 1
    assert "did not" in process.stderr
