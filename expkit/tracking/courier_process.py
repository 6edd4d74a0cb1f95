"""What a `Courier` starts: it imports MLflow, and sends the journal of one run to a store."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from expkit.errors import TrackingError
from expkit.line import Line
from expkit.processes import die_with_parent
from expkit.tracking.carrier import Carrier
from expkit.tracking.store import StoreSettings, import_mlflow
from expkit.tracking.text import explain

_BEAT = 5.0
"""Seconds between two signs of life."""


class _Told(logging.Handler):
    """Sends what is logged to the process that started this one."""

    def __init__(self, line: Line) -> None:
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        self._line.send({"log": [record.name, record.levelno, record.getMessage()]})


class _Printed(io.TextIOBase):
    """Sends what is printed there."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def write(self, text: str) -> int:
        self._line.send({"print": text})
        return len(text)


def main() -> NoReturn:
    """Do what is asked until there will be no more questions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--server", action="store_true")
    options = parser.parse_args()
    die_with_parent(options.parent)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # meant for the run, which then has its end sent
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    line = Line.take()
    sys.stdout = sys.stderr = _Printed(line)
    told = logging.getLogger("expkit")
    told.addHandler(_Told(line))
    told.setLevel(logging.INFO)
    told.propagate = False
    threading.Thread(target=_beat, args=(line,), name="expkit-beat", daemon=True).start()
    _import(database=not options.server)
    carrier: Carrier | None = None
    while (asked := line.receive()) is not None:
        facts = asked["with"]
        if asked["do"] == "connect":
            carrier, facts = Carrier(Path(facts["folder"]), _settings(facts["settings"])), {}
        assert carrier is not None
        line.send({"number": asked["number"], **_answer(carrier, asked["do"], facts)})
    os._exit(0)  # a call that hangs must not keep it


def _beat(line: Line) -> None:
    """Give signs of life."""
    while True:
        line.send({})
        time.sleep(_BEAT)


def _import(*, database: bool) -> None:
    """Import what opening a store will need."""
    with contextlib.suppress(ImportError):  # which is raised again, and told, when it is needed
        import_mlflow()
        if database:
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
            importlib.import_module("alembic.command")


def _answer(carrier: Carrier, what: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    try:
        answer["value"] = getattr(carrier, what)(**facts)
    except TrackingError as error:
        answer["error"] = str(error)
    except OSError as error:
        named = [] if error.filename is None else [os.fsdecode(error.filename)]
        answer["error"] = explain(error) if error.errno is None else [error.errno, error.strerror, *named]
    except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
        answer["error"] = f"tracking: {type(error).__name__}: {explain(error)}"
    state = {"sent": asdict(carrier.sent), "told": carrier.told, "last_error": carrier.last_error}
    return {**answer, **state}


def _settings(values: Mapping[str, Any]) -> StoreSettings:
    paths = {name: Path(values[name]) for name in ("runs_dir", "artifact_root")}
    return StoreSettings(**{**values, **paths, "metrics": tuple(values["metrics"])})
