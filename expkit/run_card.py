"""What the page of a run says of it, from its parts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from expkit import registry
from expkit.config import ExperimentConfig
from expkit.masking import masked
from expkit.model_card import describe_run
from expkit.preparation import Prepared
from expkit.record_store import command
from expkit.runs import run_id

CHOICES = tuple(kind.config_group for kind in registry.KINDS)
_COLUMNS = 5


def run_card(
    config: ExperimentConfig,
    prepared: Prepared,
    folder: Path,
    *,
    metrics: Mapping[str, float] | None = None,
    best_epoch: int = 0,
    epochs: int = 0,
    ended: str = "",
    model: tuple[str, str, str] | None = None,
) -> str:
    """Return the description of a run; see `describe_run`.

    Args:
        config: the experiment.
        prepared: its parts.
        folder: the run folder.
        metrics: of the best weights; none yet at the start.
        best_epoch: epoch of these weights.
        epochs: that were trained.
        ended: why there is no result.
        model: URI of the store and of the model in MLflow, and what it takes, in words.
    """
    spec = prepared.data.spec
    sizes = {what: f"{count:,.0f}" for what, count in prepared.learner.summary().items()}
    training = {"batch size": str(config.loader.batch_size), "epochs": str(config.trainer.epochs)}
    engine = {"engine": config.device.engine} if config.device.engine != "paddle" else {}
    place = {"seed": str(config.seed), "device": prepared.device, **engine, "folder": masked(str(folder))}
    runs_dir = [] if str(config.runs_dir) == "runs" else ["--runs-dir", str(config.runs_dir)]
    return describe_run(
        experiment=config.name,
        choices={kind: config.choices[kind] for kind in CHOICES if config.choices.get(kind)},
        data_name=spec.name,
        data_source=(spec.source.kind, masked(spec.source.location)),
        stand_in_for=spec.source.stand_in_for,
        fingerprint=spec.fingerprint,
        sizes=prepared.sizes,
        metrics=metrics or {},
        best_epoch=best_epoch,
        epochs=epochs,
        ended=ended,
        facts={**sizes, **training, **place},
        repeat=command(config),
        reproduce=shlex.join(["python", "-m", "expkit", "reproduce", run_id(folder), *runs_dir]) if metrics else "",
        predict=f"python -m expkit predict {shlex.quote(str(folder))} FILE..."
        if config.export.enabled and metrics
        else "",
        model=model,
    )


def takes(prepared: Prepared, raw: npt.NDArray[Any]) -> str:
    """Say what the exported model is asked with: "raw: uint8 [N, 28, 28]", or a table with its columns."""
    columns = prepared.data.spec.input.describe().get("columns")
    if columns:
        shown = ", ".join(map(str, columns[:_COLUMNS])) + (", ..." if len(columns) > _COLUMNS else "")
        return f"raw: a pandas table with the columns {shown}"
    return f"raw: array of {raw.dtype} {['N', *raw.shape[1:]]}".replace("'", "")
