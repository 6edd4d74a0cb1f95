"""Whether a tracking store is fit for use; nothing is made or changed in it, and MLflow is not imported."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import queue
import re
import shlex
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from expkit.errors import TrackingError
from expkit.tracking.creation import holds_anything, move_away
from expkit.tracking.schema_lock import database_file
from expkit.tracking.store import DATABASE_PORTS, StoreSettings, remedy, resolve_uri
from expkit.tracking.text import explain, masked

SECONDS = 2.0
"""Longest wait for a store on the network."""
_NEWEST_PAGE = 1000
_LIVING = "WHERE lifecycle_stage = 'active'"
_OTHERWISE = "Is its address right, and does it run? Without it, runs are made with tracking=none"


@dataclass(frozen=True)
class Health:
    """What was found of a store.

    Attributes:
        uri: of the store, absolute, without a password.
        exists: whether it is there; a file that is not is made by the first run.
        error: why it cannot be used; empty where it can.
        advice: what helps.
        version: of MLflow, where a server says so.
        experiments: how many it has; None where that was not asked.
        runs: how many it has that are not deleted; None where that was not asked.
    """

    uri: str
    exists: bool = True
    error: str = ""
    advice: str = ""
    version: str = ""
    experiments: int | None = None
    runs: int | None = None


Ask = Callable[[str], Any]
"""Returns the first value of the first row that a query finds."""


def look_at(uri: str | None, runs_dir: Path, seconds: float = SECONDS) -> Health:
    """Look at a store.

    Args:
        uri: of the store; None means `runs_dir`/mlflow.db.
        runs_dir: folder of all runs.
        seconds: longest wait for one on the network.
    """
    try:
        resolved = resolve_uri(StoreSettings(uri, "", "", runs_dir.absolute(), runs_dir.absolute()))
    except TrackingError as error:
        told, _, advice = str(error).partition(". ")
        return Health(masked(uri or ""), error=told, advice=advice)
    found = Health(masked(resolved))
    file = database_file(resolved)
    try:
        if file is not None:
            return _file(found, file)
        if resolved.startswith(("http://", "https://")):
            return _within(seconds, lambda: _server(found, resolved, seconds))
        if urlsplit(resolved).scheme.split("+")[0] in DATABASE_PORTS:
            return _within(seconds, lambda: _database(found, resolved, seconds))
    except Exception as error:  # noqa: BLE001 - whatever a driver or a server comes up with
        advice = "It is too slow, or a firewall drops what is sent" if isinstance(error, TimeoutError) else ""
        return replace(found, error=_why(error), advice=advice or remedy(error, _OTHERWISE))
    return found


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else explain(cause)


def _within(seconds: float, look: Callable[[], Health]) -> Health:
    """Let a thread look, which can be left: neither looking up a name nor connecting to a database has a time limit.

    Raises:
        TimeoutError: it takes longer.
    """
    answers: queue.SimpleQueue[Health | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(look())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=work, name="expkit-store", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _file(found: Health, file: Path) -> Health:
    if not file.exists():
        return replace(found, exists=False)
    if file.is_dir():
        return replace(found, error="is a folder, and a file is expected", advice=f"Move it away. {_OTHERWISE}")
    try:
        return _opened(found, file, "ro")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        return _opened(found, file, "rw")  # what a killed process left halfway, SQLite first takes back


def _opened(found: Health, file: Path, mode: str) -> Health:
    uri = f"{file.resolve().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
        return _tables(found, lambda query: (connection.execute(query).fetchone() or [None])[0], str(found.uri))


def _database(found: Health, uri: str, seconds: float) -> Health:
    import sqlalchemy

    parts = urlsplit(uri)
    address = (parts.hostname or "localhost", parts.port or DATABASE_PORTS[parts.scheme.split("+")[0]])
    socket.create_connection(address, timeout=seconds).close()
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    if not sqlalchemy.inspect(engine).has_table("alembic_version"):
        return replace(found, exists=False)
    with engine.connect() as connection:
        return _tables(found, lambda query: connection.execute(sqlalchemy.text(query)).scalar(), found.uri)


def _tables(found: Health, ask: Ask, uri: str) -> Health:
    """Look at the tables of a database: of which version they are, and how much they hold."""
    try:
        revision = str(ask("SELECT version_num FROM alembic_version") or "")
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        if not ask("SELECT count(*) FROM sqlite_master"):
            return replace(found, exists=False)  # an empty file
        if holds_anything(ask) is False:
            return _unfinished(found, "")
        advice = f"It belongs to another program. Name the store that you mean: --uri URI, not {shlex.quote(uri)}"
        return replace(found, error="is a database, but none of MLflow's", advice=advice)
    known, newest = schema_revisions()
    if newest and revision != newest:
        if revision in {*known, ""} and database_file(uri) is not None and holds_anything(ask) is False:
            return _unfinished(found, revision)
        if revision in known:
            told = f"its tables are of an older MLflow (schema {revision}, now {newest})"
            advice = f"Back it up, then: mlflow db upgrade {shlex.quote(uri)}"
        else:
            told = f"its tables are of a newer MLflow (schema {revision}, this one knows {newest})"
            advice = "python -m pip install -U 'mlflow<4'"
        return replace(found, error=told, advice=advice)
    experiments = int(ask(f"SELECT count(*) FROM experiments {_LIVING}"))
    return replace(found, experiments=experiments, runs=int(ask(f"SELECT count(*) FROM runs {_LIVING}")))


def _unfinished(found: Health, revision: str) -> Health:
    """Tell of tables that hold nothing, of which a run may be able to make the missing ones, or not."""
    file = database_file(found.uri)
    assert file is not None
    told = f"its tables are half made, or of an older MLflow (schema {revision or 'none'}), and no run is in it"
    return replace(found, error=told, advice=move_away(file))


def schema_revisions() -> tuple[set[str], str]:
    """Return all revisions of the tables that the installed MLflow knows, and the newest, or "" where that is unclear.

    They are read from its source: importing MLflow takes two seconds.
    """
    spec = importlib.util.find_spec("mlflow")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    known: set[str] = set()
    replaced: set[str] = set()
    for place in places:
        for path in (Path(place) / "store/db_migrations/versions").glob("*.py"):
            facts = dict(_ASSIGNED.findall(path.read_text(encoding="utf-8", errors="replace")))
            known |= {facts["revision"]} if "revision" in facts else set()
            replaced |= {facts["down_revision"]} if "down_revision" in facts else set()
    heads = known - replaced
    return known, heads.pop() if len(heads) == 1 else ""


_ASSIGNED = re.compile(r"""^(revision|down_revision)\s*(?::[^=]*)?=\s*["'](\w+)["']""", re.M)


def _server(found: Health, uri: str, seconds: float) -> Health:
    parts = urlsplit(uri)
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    headers = {"Content-Type": "application/json", **_authorization(parts.username, parts.password)}
    question = {"max_results": _NEWEST_PAGE, "view_type": "ACTIVE_ONLY"}
    try:
        answer = json.loads(
            _get(f"{base}/api/2.0/mlflow/experiments/search", headers, seconds, json.dumps(question).encode())
        )
    except urllib.error.HTTPError as error:
        return replace(found, error=f"it answers {error.code} {error.reason}", advice=_refusal(error.code))
    except ValueError as error:
        raise ValueError("what answers there is no MLflow server") from error
    with contextlib.suppress(OSError):
        version = _get(f"{base}/version", headers, seconds).decode("utf-8", "replace").strip()
        found = replace(found, version=version if re.fullmatch(r"[\w.+-]{1,30}", version) else "")
    return replace(found, experiments=len(answer.get("experiments", [])))


def _get(address: str, headers: dict[str, str], seconds: float, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return bytes(answer.read())


def _refusal(code: int) -> str:
    if code in (401, 403):
        return "Tell it who you are: export MLFLOW_TRACKING_USERNAME=... MLFLOW_TRACKING_PASSWORD=... (or _TOKEN)"
    if code == 404:
        return "No MLflow server answers so. Is a part of its address missing, such as a folder behind the host?"
    return "See the log of that server"


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    """Return the header that says who asks, as MLflow's own client would."""
    name = unquote(user) if user else os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    word = unquote(password) if password else os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    if name:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
