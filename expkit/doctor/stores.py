"""The tracking store: whether it answers, whether its tables are those of this MLflow, and what it has not got yet."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from expkit.doctor.examination import Scene
from expkit.findings import Finding, Level
from expkit.tracking.health import Health, look_at
from expkit.tracking.left_behind import is_abandoned, left_behind
from expkit.tracking.passwords import URI
from expkit.tracking.relocation import find_move
from expkit.tracking.schema_lock import database_file


def stores(scene: Scene) -> Sequence[Finding]:
    """Look at the store that the user names, or at that of the runs folder and that of MLFLOW_TRACKING_URI."""
    if scene.uri is not None:
        return _about(look_at(scene.uri, scene.runs_dir), "--tracking-uri")
    found = _about(look_at(None, scene.runs_dir), "")
    named = scene.environment.get(URI)
    if named:
        used = f'{URI}; a run goes there with tracking.uri="${URI}"'
        found += _about(look_at(named, scene.runs_dir), used, sure=False)
    return found


def unsent(scene: Scene) -> Sequence[Finding]:
    """Say which runs are not wholly in their stores."""
    every = list(left_behind(scene.runs_dir))
    waiting = [folder for folder in every if is_abandoned(folder)]
    busy = len(every) - len(waiting)
    told = f"; {_runs(busy)} under way" if busy else ""
    if not waiting:
        return [Finding("ok", "unsent", f"nothing: all that ended is in its store{told}" if every else "nothing")]
    names = ", ".join(folder.name for folder in waiting[:3]) + (", ..." if len(waiting) > 3 else "")
    command = "python -m expkit sync all" + _place(scene.runs_dir)
    one = len(waiting) == 1
    text = (
        f"{_runs(len(waiting))} {'is' if one else 'are'} not wholly in {'its' if one else 'their'} store: {names}{told}"
    )
    return [Finding("warning", "unsent", text, command)]


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"


def _place(runs_dir: Path) -> str:
    return "" if runs_dir == Path("runs") else f" --runs-dir {shlex.quote(str(runs_dir))}"


def _about(health: Health, source: str, *, sure: bool = True) -> list[Finding]:
    """Say what was found of a store.

    Args:
        health: of it.
        source: who named it; empty where nobody did.
        sure: whether runs use it, so that a trouble is a failure.
    """
    file = database_file(health.uri)
    where = (health.uri if file is None else str(file)) + (f" ({source})" if source else "")
    if health.error:
        level: Level = "FAIL" if sure else "warning"
        return [Finding(level, "store", f"{where}: {health.error}", health.advice)]
    if not health.exists:
        return [Finding("ok", "store", f"{where}: not there yet, made by the first run")]
    told = [where, *([f"MLflow {health.version}"] if health.version else [])]
    if health.experiments is None:
        told.append("not looked at, as only MLflow itself knows this kind")
    else:
        told.append(f"{health.experiments:,} experiment{'s' * (health.experiments != 1)}")
    if health.runs is not None:
        told.append(_runs(health.runs))
    text = ", ".join(told)
    if file is not None:
        move = find_move(file)
        if move is not None and move.is_copy:
            text += f"; its files are said to be in {move.old}, of which it is a copy"
            return [Finding("warning", "store", text, move.command)]
        if not os.access(file, os.W_OK):
            return [Finding("FAIL", "store", f"{text}; it cannot be written", f"chmod u+w {shlex.quote(str(file))}")]
    return [Finding("ok", "store", text)]
