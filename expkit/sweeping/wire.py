"""Jobs, and what they tell, as plain values that a line of JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from expkit.sweeping.jobs import Job, Outcome, Report


def pack_job(job: Job) -> dict[str, Any]:
    """Return a job as plain values."""
    return {**asdict(job), "folder": str(job.folder)}


def unpack_job(values: Mapping[str, Any]) -> Job:
    """Undo `pack_job`."""
    lists = {name: tuple(values[name]) for name in ("overrides", "varies")}
    return Job(**{**values, **lists, "folder": Path(values["folder"])})


def pack(message: Report | Outcome) -> dict[str, Any]:
    """Return what a job tells as plain values."""
    return {type(message).__name__.lower(): asdict(message)}


def unpack(values: Mapping[str, Any]) -> Report | Outcome | None:
    """Undo `pack`; None where it is something else."""
    if "report" in values:
        return Report(**values["report"])
    return Outcome(**values["outcome"]) if "outcome" in values else None
