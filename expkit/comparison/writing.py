"""All of a comparison as a file: one row a run, whatever the terminal has room for."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Mapping
from datetime import timezone
from pathlib import Path
from typing import Any

from expkit.comparison.compare import Comparison, metric_names
from expkit.comparison.grouping import Group, what_varies
from expkit.comparison.run import Run
from expkit.errors import ConfigError
from expkit.files import write_whole
from expkit.tracking.text import as_text

STDOUT = "-"
_TAGS = {"sweep": "sweep", "data": "data.name", "data_fingerprint": "data.fingerprint", "git_commit": "git.commit"}


def rows(compared: Comparison) -> list[dict[str, Any]]:
    """Return a row for each run, in the order of the table; all have the same keys, None where a run has no value."""
    runs = [run for group in compared.groups for run in group.runs]
    typed, brought = what_varies([Group((run,)) for run in runs], seed=True)
    params = list(dict.fromkeys((*typed, *brought, "seed")))
    metrics = metric_names(runs)
    numbers = {id(run): number for number, group in enumerate(compared.groups) for run in group.runs}
    return [
        {
            **_facts(run),
            "group": numbers[id(run)],
            **{key: _plain(run.params.get(key)) for key in params},
            **{name: run.metrics.get(name) for name in metrics},
            **{key: run.tags.get(tag) for key, tag in _TAGS.items()},
            "mlflow_run_id": run.mlflow_run_id or None,
            "folder": None if run.folder is None else str(run.folder),
        }
        for run in runs
    ]


def write_csv(target: str, table: list[dict[str, Any]]) -> None:
    """Write rows as CSV; empty where there is no value.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table[0])
    for row in table:
        writer.writerow("" if value is None else _cell(value) for value in row.values())
    _write(target, text.getvalue())


def write_json(target: str, table: list[dict[str, Any]]) -> None:
    """Write rows as a JSON list of objects; null where there is no value, or one that JSON cannot hold.

    Raises:
        ConfigError: the file cannot be written.
    """
    finite = [{key: _finite(value) for key, value in row.items()} for row in table]
    _write(target, json.dumps(finite, indent=1, ensure_ascii=False) + "\n")


def write_parquet(target: str, table: list[dict[str, Any]]) -> None:
    """Write rows as Parquet; a column of numbers stays one.

    Raises:
        ConfigError: the file cannot be written, or a package is missing.
    """
    import pandas as pd

    frame = pd.DataFrame({key: _column([row[key] for row in table]) for key in table[0]})
    try:
        frame.to_parquet(target, index=False)
    except ImportError as error:
        raise ConfigError(f"--parquet {target} needs the package pyarrow ({error}): pip install pyarrow.") from error
    except OSError as error:
        raise _unwritable(target, error) from error


def _facts(run: Run) -> dict[str, Any]:
    started = None if run.started is None else run.started.astimezone(timezone.utc).isoformat(timespec="seconds")
    return {
        "run": run.id,
        "experiment": run.experiment,
        "name": run.name or None,
        "status": run.status,
        "reason": run.reason or None,
        "started": started,
        "seconds": None if run.seconds is None else round(run.seconds, 3),
    }


def _plain(text: str | None) -> Any:
    """Turn a parameter back into a value; a list stays the text that it is."""
    if text is None or text in ("true", "false", "null"):
        return {"true": True, "false": False}.get(text or "")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _cell(value: Any) -> str:
    return as_text(value) if isinstance(value, bool) else str(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _column(values: list[Any]) -> list[Any]:
    """Parquet has one type for a column: texts where it is mixed."""
    kinds: set[Mapping[type, str] | type] = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) < 2:
        return values
    return [None if value is None else _cell(value) for value in values]


def _write(target: str, text: str) -> None:
    if target == STDOUT:
        sys.stdout.write(text)
        return
    try:
        write_whole(Path(target), text)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: str, error: OSError) -> ConfigError:
    return ConfigError(f"{target} cannot be written: {error.strerror or error}. Name a file in a folder that is there.")
