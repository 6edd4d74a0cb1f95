"""Run folders: what is in one, and how a user names one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from expkit.errors import RunNotFoundError, did_you_mean
from expkit.files import write_whole
from expkit.masking import masked_values

RECORD = "run.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `run.json`: identity, status and result of a run."""
    write_whole(folder / RECORD, as_json(record))


def as_json(record: Mapping[str, Any]) -> str:
    """Return the text of `run.json`, without secrets."""
    return json.dumps(masked_values(record), indent=2)


def read_record(folder: Path) -> dict[str, Any]:
    """Read `run.json`.

    Raises:
        RunNotFoundError: the folder holds no readable record.
    """
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:  # TypeError: a JSON value that is no object
        raise RunNotFoundError(f"{folder} is not a run folder: {RECORD} cannot be read ({error}).") from error


def run_id(folder: Path) -> str:
    """Id of a run from its folder: "20261123-120000-ab12cd", or "sweep-20261123-120000-ab12cd.3" for a sweep's job."""
    return f"{folder.parent.name}.{folder.name}" if folder.name.isdigit() else folder.name


def monitored(record: Mapping[str, Any]) -> float | None:
    """Return the value by which the best epoch of a run was chosen; None where it has no result."""
    value: float | None = record.get("metrics", {}).get(record.get("monitor", {}).get("name"))
    return value


def best_name(metric: str) -> str:
    """Return the name under which a tracking store has the best weights' value: "valid/best_loss" of "valid/loss"."""
    return f"valid/best_{metric[6:]}" if metric.startswith("valid/") else metric


def seconds_of(record: Mapping[str, Any]) -> float | None:
    """Return how long a run took, from its first start to its end; None where it has none."""
    try:
        began, ended = (datetime.fromisoformat(record[key]) for key in ("started", "ended"))
    except (KeyError, TypeError, ValueError):
        return None
    return (ended - began).total_seconds()


def all_runs(runs_dir: Path) -> Iterator[Path]:
    """Yield the run folders below `runs_dir`, oldest first."""
    records = [p for pattern in ("*/*/run.json", "*/*/*/run.json") for p in runs_dir.glob(pattern)]
    yield from (p.parent for p in sorted(records, key=lambda p: (p.stat().st_mtime, str(p))))


def find_run(reference: str, runs_dir: Path, having: str = "") -> Path:
    """Return the run folder that a user means.

    Args:
        reference: a folder, a run's id (or its last part), an MLflow run id, or "last".
        runs_dir: where runs are.
        having: a file or folder that "last" must have, such as "export".

    Raises:
        RunNotFoundError: no run, or more than one, is called that.
    """
    folder = Path(reference)
    if (folder / RECORD).is_file():
        return folder
    above = next((parent for parent in folder.parents if (parent / RECORD).is_file()), None)
    if above is not None and folder.exists():
        raise RunNotFoundError(f"{reference} lies in a run; give the run's folder: {above}")
    if folder.is_dir() and len(folder.parts) > 1:
        raise RunNotFoundError(
            f"no run has begun in {reference}: it has no {RECORD}. Nothing was trained there; start the run again."
        )
    runs = list(all_runs(runs_dir))
    if not runs:
        raise RunNotFoundError(
            f"no run {reference!r}: there are no runs in {runs_dir}. Start one: python -m expkit +experiment=mnist_cnn"
        )
    if reference == "last":
        fitting = [run for run in runs if (run / having).exists()]
        if not fitting:
            raise RunNotFoundError(f"none of the {len(runs)} runs in {runs_dir} has {having}/.")
        return fitting[-1]
    found = [run for run in runs if _is_called(run, reference)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(run) for run in found[:4])
        raise RunNotFoundError(f"{reference!r} fits {len(found)} runs: {names}. Give one of these folders.")
    ids = [str(_readable(run).get("id", run.name)) for run in runs]
    near = did_you_mean(reference, ["last", *ids])
    raise RunNotFoundError(
        f"no run {reference!r} in {runs_dir}.{near} The newest are {', '.join(ids[-3:])}; "
        "a folder, an MLflow run id or `last` will do as well."
    )


def _readable(run: Path) -> dict[str, Any]:
    """Read a record; a damaged one is empty, so that it does not keep the other runs from being found."""
    try:
        return read_record(run)
    except RunNotFoundError:
        return {}


def _is_called(run: Path, reference: str) -> bool:
    record = _readable(run)
    identity = str(record.get("id", ""))
    mlflow_id = str(record.get("mlflow_run_id") or "")
    if not reference:
        return False
    if reference in (identity, run.name, mlflow_id) or identity.endswith(f"-{reference}"):
        return True
    return len(reference) >= 6 and mlflow_id.startswith(reference)
