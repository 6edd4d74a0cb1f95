"""Opening a tracking store: MLflow's import and noise, a fresh database's schema, errors with a remedy."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import logging
import os
import re
import shlex
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from expkit.errors import TrackingError
from expkit.tracking.creation import make_database, unfinished
from expkit.tracking.passwords import with_password
from expkit.tracking.relocation import follow
from expkit.tracking.schema_lock import database_file, schema_lock
from expkit.tracking.text import explain, masked
from expkit.tracking.view import experiment_tags

logger = logging.getLogger("expkit.tracking")

PROBE_SECONDS = 3.0
"""Longest wait for a database server to accept a connection."""
ANSWER_SECONDS = 8.0
"""Longest wait for a tracking server to say anything."""

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run that ends, where there is a server
    # MLflow's own: 7 retries of 120 s each; a dead server then blocks for 4 minutes, a silent one for 20. A server that
    # is only slow gets its time: whether it is there at all is asked before, and a training does not wait for it.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
_REMEDY = (
    "Set tracking.uri to a store that works, begin without it (tracking.required=false), or train without one: "
    "tracking.kind=none. `python -m expkit sync all` brings the run there later."
)
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class StoreSettings:
    """Where a run is recorded.

    Attributes:
        uri: of the store (``sqlite:///file.db``, ``postgresql://...``, ``http://host:port``); None means
            `runs_dir`/mlflow.db.
        experiment: name that groups comparable runs.
        run_name: name of the run in tables and charts.
        runs_dir: folder of all runs.
        artifact_root: folder for artifacts when the store is a database; a server chooses its own.
        metrics: names of the run's metrics, such as "accuracy", for the columns of the experiment's table.
        enabled: False for a run that is recorded in its folder only.
        required: whether a run may not begin without the store.
    """

    uri: str | None
    experiment: str
    run_name: str
    runs_dir: Path
    artifact_root: Path
    metrics: tuple[str, ...] = ()
    enabled: bool = True
    required: bool = True


def import_mlflow() -> Any:
    """Import MLflow with expkit's defaults; what the user has set in the environment stays."""
    chosen = "MLFLOW_LOGGING_LEVEL" in os.environ
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    if not chosen:  # the schema's creation is 60 lines of INFO otherwise
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("urllib3.connectionpool", "mlflow.store.db.utils"):
        if _heard_already not in logging.getLogger(name).filters:
            logging.getLogger(name).addFilter(_heard_already)
    return mlflow


def import_all_of_mlflow() -> None:
    """Import what a run uses of MLflow, much of it deep inside, without opening a store: for a process that forks."""
    import_mlflow()
    for module in (
        "mlflow.pyfunc",
        "mlflow.store.artifact.local_artifact_repo",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_workspace_store",
        "sqlalchemy.dialects.sqlite",
        "alembic.command",
    ):
        with contextlib.suppress(ImportError):  # another version has it elsewhere, and imports it when it is used
            importlib.import_module(module)
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    # It looks through all that is installed, which takes half a second of each run that stores a model.
    modules = importlib.import_module("mlflow.utils.requirements_utils")
    getattr(modules, "_init_modules_to_packages_map", lambda: None)()


_calling = threading.local()


def _heard_already(record: logging.LogRecord) -> bool:
    """Drop what these loggers say during our own call: the same failure is raised, and we report it once."""
    return not getattr(_calling, "now", False)


@contextlib.contextmanager
def own_call() -> Iterator[None]:
    """Within this context MLflow's loggers are silent about failures, which are raised as well."""
    _calling.now = True
    try:
        yield
    finally:
        _calling.now = False


@dataclass(frozen=True)
class Store:
    """An open store with one experiment.

    Attributes:
        client: the `MlflowClient`.
        uri: what it was opened with, absolute.
        experiment_id: of the experiment.
    """

    client: Any
    uri: str
    experiment_id: str


def open_store(settings: StoreSettings) -> Store:
    """Open the store, create its schema and the experiment when they are missing.

    Raises:
        TrackingError: the store cannot be reached, read or written; within 10 seconds.
    """
    uri = resolve_uri(settings)
    mlflow = import_mlflow()
    local = database_file(uri)
    artifacts = None if uri.startswith(("http://", "https://")) else settings.artifact_root
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_call())
        if local is not None:
            _check_folder(local.parent)
        else:
            probe_database(uri)  # before its lock, which would wait long for a database that is gone
        stack.enter_context(schema_lock(uri))
        if local is not None and local.exists():
            probe_database(uri)  # in which SQLite takes back what a killed process left halfway
            follow(local, locked=True)
        try:
            if local is not None:
                make_database(local)
            client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            found = client.get_experiment_by_name(settings.experiment)
        except Exception as error:
            told = remedy(error, uri=uri)
            raise TrackingError(f"tracking store {masked(uri)}: {explain(error)}. {told}") from error
    with own_call():
        return Store(client, uri, _experiment(client, found, settings, artifacts))


def remember_store(settings: StoreSettings, folder: Path) -> dict[str, Any]:
    """Return what the journal of a run has to know to find its store again, also when all of it is moved."""
    uri = None if settings.uri is None else masked(settings.uri)
    return {"uri": uri, "runs_dir": Path(os.path.relpath(settings.runs_dir, folder.absolute())).as_posix()}


def resolve_uri(settings: StoreSettings) -> str:
    """Return the store's URI with an absolute path.

    Raises:
        TrackingError: the URI is of a kind that cannot be a store.
    """
    if settings.uri is None:
        return sqlite_uri(settings.runs_dir / "mlflow.db")
    scheme = urlsplit(settings.uri).scheme.split("+")[0]
    if scheme == "sqlite":
        file, _, query = settings.uri.partition("://")[2].removeprefix("/").partition("?")
        if not file or file == ":memory:":
            raise TrackingError(
                f"tracking.uri={settings.uri!r} names no file. Write sqlite:///runs/mlflow.db (3 slashes)."
            )
        return sqlite_uri(Path(unquote(file))) + (f"?{query}" if query else "")
    if scheme in (*DATABASE_PORTS, "http", "https") or settings.uri.startswith("databricks"):
        return with_password(settings.uri)
    raise TrackingError(
        f"tracking.uri={masked(settings.uri)!r} is not a tracking store. Allowed: sqlite:///file.db, "
        "postgresql://, mysql://, mssql://, http://, https:// (not a folder). "
        "Or train without a store: tracking.kind=none."
    )


def sqlite_uri(file: Path) -> str:
    """Return the URI of a SQLite file."""
    # SQLAlchemy reads a URI's path unquoted; MLflow takes the text after "sqlite:///" for a path as it is and
    # makes its parent folder. So only what must be is quoted, and then the driver's name keeps MLflow from it.
    path = file.expanduser().resolve().as_posix()
    quoted = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite{'' if quoted == path else '+pysqlite'}:///{quoted}"


def user_name() -> str:
    """Name of the user, or "unknown" where the system has none (some containers)."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(f"tracking: cannot create the folder {folder} ({error.strerror}). {_REMEDY}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TrackingError(f"tracking: the folder {folder} cannot be written. {_REMEDY}")


def probe_database(uri: str) -> None:
    """Fail at once where MLflow would retry a database for two minutes, or a server for half of one.

    Raises:
        TrackingError: it does not answer.
    """
    if uri.startswith(("http://", "https://")):
        _probe_server(uri)
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme not in ("sqlite", *DATABASE_PORTS):
        return
    import sqlalchemy

    try:
        if scheme != "sqlite":
            address = (parts.hostname or "localhost", parts.port or DATABASE_PORTS[scheme])
            socket.create_connection(address, timeout=PROBE_SECONDS).close()
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            if scheme == "sqlite":
                connection.execute(sqlalchemy.text("PRAGMA schema_version"))
    except Exception as error:
        raise TrackingError(f"tracking store {masked(uri)}: {explain(error)}. {remedy(error)}") from error


def _probe_server(uri: str) -> None:
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    try:
        urllib.request.urlopen(f"{address}/health", timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers, whatever it thinks of the question
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        why = (
            "timed out"
            if isinstance(reason, TimeoutError)
            else explain(reason if isinstance(reason, Exception) else error)
        )
        raise TrackingError(f"tracking store {masked(uri)}: {why}. {remedy(error)}") from error


def remedy(error: BaseException, otherwise: str = _REMEDY, *, uri: str = "") -> str:
    """Say what helps against an error of the store.

    Args:
        error: that it raised.
        otherwise: what helps where the error is of no known kind.
        uri: of the store, absolute, where it was just being opened.
    """
    text = str(error)
    file = database_file(uri)
    if file is not None and (told := unfinished(file, text)):
        return told
    if isinstance(error, ModuleNotFoundError):
        return f"Install the database's driver: pip install {error.name}."
    if "out-of-date database schema" in text:
        return "An older MLflow made it: back it up, then `mlflow db upgrade <uri>`."
    if "database is locked" in text:
        return (
            "Another process holds it: end that one, run this again when it is done, or train with tracking.kind=none."
        )
    if "not a database" in text:
        return f"The file is not an SQLite database. Move it away and run again. {otherwise}"
    return otherwise


def _experiment(client: Any, found: Any, settings: StoreSettings, artifacts: Path | None) -> str:
    """Id of the experiment, created when missing; several processes may try at the same instant."""
    name = settings.experiment
    try:
        if found is None:
            location = None if artifacts is None else (artifacts.resolve() / _slug(name)).as_uri()
            try:
                tags = experiment_tags(settings.metrics)
                return str(client.create_experiment(name, artifact_location=location, tags=tags))
            except Exception:
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
    except Exception as error:
        raise TrackingError(f"tracking: no experiment {name!r} ({explain(error)}). {remedy(error)}") from error
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"tracking: the experiment {name!r} was deleted in this store. Bring it back with "
            f"`MLFLOW_TRACKING_URI={shlex.quote(masked(resolve_uri(settings)))} "
            f"mlflow experiments restore --experiment-id {found.experiment_id}`, or choose another name: "
            "tracking.experiment=..."
        )
    return str(found.experiment_id)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "experiment"
