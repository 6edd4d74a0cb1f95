"""What an experiment came to, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from expkit import report
from expkit.config import ExperimentConfig
from expkit.export import Certificate, certificates_of
from expkit.progress import show_value


@dataclass(frozen=True)
class Result:
    """What an experiment came to.

    Attributes:
        folder: the run folder.
        metrics: "valid/..." and "test/..." of the best epoch's weights; "train/..." as measured during that epoch.
        best_epoch: counts from 1.
        monitored: value of the monitored metric in that epoch, what a search optimises.
        certificates: of what was exported, by format.
        paused: why training is not over, where `trainer.stop_after` ended it; nothing was tested or exported then.
    """

    folder: Path
    metrics: Mapping[str, float]
    best_epoch: int
    monitored: float
    certificates: Mapping[str, Certificate]
    paused: str = ""


def show_result(
    console: Console,
    config: ExperimentConfig,
    result: Result,
    *,
    monitor: str,
    epochs: int,
    mlflow_run: str | None,
    stopped: str = "",
    switched_off: Sequence[object] = (),
) -> None:
    """Show the table of metrics, where everything is, and what to do next.

    Args:
        console: where to.
        config: the experiment.
        result: of it.
        monitor: name of the metric that says what is best.
        epochs: that were trained.
        mlflow_run: id of the MLflow run, if there is one.
        stopped: why a callback ended training early.
        switched_off: why callbacks were switched off.
    """
    folder = report.quote_path(result.folder)
    places = [("stopped", stopped)] if stopped else []
    places += [("switched off", str(failure)) for failure in switched_off]
    places.append(("run folder", folder))
    if mlflow_run is not None:
        places.append(("MLflow run", f"{mlflow_run}  (experiment {config.tracking.experiment or config.name})"))
    for name, certificate in result.certificates.items():
        places.append(("export", f"{folder}/export/{name}  ({certificate})"))
    exported = bool(result.certificates)
    report.conclude(
        console,
        metrics=result.metrics,
        headline=f"best epoch {result.best_epoch} of {epochs} ({monitor} {show_value(result.monitored)})",
        places=places,
        next_commands=report.next_commands(config, folder, tracked=mlflow_run is not None, exported=exported),
    )


def show_recorded(console: Console, config: ExperimentConfig, folder: Path, record: Mapping[str, Any]) -> Result:
    """Show the result of a finished run again, and return it.

    Args:
        console: where to.
        config: the experiment.
        folder: of the run.
        record: its `run.json`.
    """
    metrics, monitor = dict(record["metrics"]), record["monitor"]["name"]
    best = metrics.get(monitor, math.nan)
    result = Result(folder, metrics, int(record["best_epoch"]), best, certificates_of(record))
    show_result(
        console,
        config,
        result,
        monitor=monitor,
        epochs=int(record["epochs"]),
        mlflow_run=record.get("mlflow_run_id"),
        stopped=record.get("stopped", ""),
    )
    return result
