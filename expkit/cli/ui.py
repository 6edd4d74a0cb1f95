"""``python -m expkit ui``: MLflow's web page for a store, on this machine only; that of a server is where it is."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape

from expkit.cli.local_page import LOCAL, choose_port, open_browser, port_number, stop_on_sigterm
from expkit.errors import TrackingError
from expkit.masking import masked
from expkit.tracking.left_behind import send_left_behind
from expkit.tracking.reading import open_reader
from expkit.tracking.schema_lock import database_file
from expkit.tracking.store import StoreSettings, resolve_uri
from expkit.tracking.view import VIEW_KEY, sweep_page, sweep_view, view_tag

DEFAULT_PORT = 5000
START_SECONDS = 90.0
STOP_SECONDS = 5.0
_MOST = 1000

_VIEW = view_tag(VIEW_KEY)
log = logging.getLogger("expkit")


def main(arguments: list[str]) -> int:
    """Serve the store until Ctrl-C.

    Args:
        arguments: see ``python -m expkit ui --help``.

    Returns:
        Exit code: 0 after Ctrl-C.

    Raises:
        TrackingError: there is no store yet, or the server does not start.
        ConfigError: the port is taken, or the address is not one of this machine.
    """
    chosen = _parser().parse_args(arguments)
    runs_dir = Path(chosen.runs_dir).expanduser().resolve()
    settings = StoreSettings(chosen.uri, "", "", runs_dir, runs_dir / "mlartifacts")
    uri = resolve_uri(settings)
    database = database_file(uri)
    if database is not None and not database.is_file():
        raise TrackingError(
            f"there is no tracking store {database}: run an experiment first (python -m expkit "
            "+experiment=mnist_cnn), or name the folder of your runs: --runs-dir FOLDER, or your store: --uri URI."
        )
    console = Console(highlight=False, soft_wrap=True)
    sweep = _page_of(settings, chosen.sweep)
    shown = masked(uri) if chosen.uri else str(runs_dir)
    if uri.startswith(("http://", "https://")):
        _open(f"{masked(uri).rstrip('/')}/{sweep}", shown, console, browse=not chosen.no_browser)
        return 0
    port = choose_port(chosen.host, chosen.port, DEFAULT_PORT, console)
    if chosen.host not in LOCAL:
        console.print(f"[bold yellow]Anyone who reaches {chosen.host} can read and delete these runs.[/]")
    try:
        with (
            tempfile.TemporaryFile() as log,
            stop_on_sigterm(),
            _server(uri, settings.artifact_root, chosen.host, port, log) as server,
        ):
            address = f"http://{'127.0.0.1' if chosen.host == '0.0.0.0' else chosen.host}:{port}"
            _wait_until_it_answers(address, server, log)
            page = f"{address}/{sweep}" if sweep else _first_page(address)
            _open(page, shown, console, " (Ctrl-C ends it)", browse=not chosen.no_browser)
            server.wait()
            raise TrackingError(f"the MLflow server ended by itself.\n{_tail(log)}")
    except KeyboardInterrupt:
        console.print("The page is closed; the runs stay where they are.")
        return 0


def _open(page: str, store: str, console: Console, then: str = "", *, browse: bool) -> None:
    console.print(f"Runs of {escape(store)}: [bold]{page}[/]{then}")
    if browse:
        open_browser(page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit ui", description="Open MLflow's page for the runs of this folder."
    )
    parser.add_argument("--runs-dir", default="runs", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--uri", help="another store than that of the folder, as of tracking.uri")
    parser.add_argument("--sweep", metavar="ID", help="show the jobs of this sweep, such as ab12cd")
    parser.add_argument("--port", type=port_number, help=f"default: {DEFAULT_PORT}, or the next one that is free")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    return parser


@contextmanager
def _server(uri: str, artifacts: Path, host: str, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the MLflow server in a process group of its own, and end the whole group."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--default-artifact-root", artifacts.as_uri()),
    ]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # which may hold a password: a command line can be read by all
        "MLFLOW_DISABLE_TELEMETRY": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=sys.platform != "win32",
    )
    try:
        yield server
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(server.pid)], capture_output=True, check=False)
        server.wait()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            server.poll()
            if not _group_lives(server.pid):
                break
            time.sleep(0.05)
    server.wait()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    opener = _opener()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise TrackingError(f"the MLflow server did not start.\n{_tail(log)}")
        try:
            with opener.open(f"{address}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TrackingError(f"the MLflow server did not answer within {START_SECONDS:.0f} s.\n{_tail(log)}")


def _page_of(settings: StoreSettings, sweep: str | None) -> str:
    """Return the part of the address that shows a sweep; empty where none was asked for.

    Runs whose process died are set right on the way: whoever looks at them is to know.

    Raises:
        TrackingError: there is no such sweep.
    """
    name = Path(sweep or "").name.rpartition("-")[2]  # its folder is as good
    found = ""
    try:
        reader = open_reader(settings.uri, settings.runs_dir)
        send_left_behind(settings)
        found = reader.experiment_with(view_tag(sweep_view(name))) if name else ""
    except TrackingError as error:
        log.warning("Runs that died may be shown as running: %s", error)
    if name and not found:
        raise TrackingError(
            f"--sweep {sweep}: the store {masked(resolve_uri(settings))} has no such sweep. Its id is the end of its "
            "folder's name: ab12cd of sweep-20261123-120000-ab12cd."
        )
    return sweep_page(found, name) if name else ""


def _first_page(address: str) -> str:
    """Table of the experiment of the newest run, with expkit's columns; else the list of all experiments."""
    training = "workflowType=machine_learning"  # MLflow shows its pages for GenAI otherwise
    try:
        made = _ask(address, "experiments/search", {"max_results": _MOST, "filter": f"tags.`{_VIEW}` LIKE '%'"})
        ids = [one["experiment_id"] for one in made["experiments"]]
        order = {"experiment_ids": ids, "max_results": 1, "order_by": ["attributes.start_time DESC"]}
        newest = _ask(address, "runs/search", order)["runs"][0]["info"]["experiment_id"]
    except (OSError, ValueError, LookupError):
        return f"{address}/#/experiments?{training}"
    return f"{address}/#/experiments/{newest}/runs?{training}&viewStateShareKey={VIEW_KEY}"


def _ask(address: str, call: str, query: dict[str, object]) -> Any:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{call}",
        data=json.dumps(query).encode(),
        headers={"Content-Type": "application/json"},
    )
    with _opener().open(request, timeout=10) as answer:
        return json.load(answer)


def _opener() -> urllib.request.OpenerDirector:
    """Opens addresses of this machine, whatever proxy is set."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _tail(log: IO[bytes], lines: int = 15) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
