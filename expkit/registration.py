"""A run's model as a version of a registered model: what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.export import certificates_of
from expkit.model_card import describe_version
from expkit.runs import monitored
from expkit.settings import ExportSettings
from expkit.tracking import RegisterRequest, Tracker
from expkit.tracking.model import about_export, facts_of_export


def request_for(record: Mapping[str, Any], export: Path, name: str, alias: str | None) -> RegisterRequest:
    """Return what the registry gets of a run.

    Args:
        record: of the run, with its result.
        export: folder of one of its exports.
        name: of the registered model.
        alias: of its best version; None gives nobody one.
    """
    about, monitor, data = about_export(export), record["monitor"], record["data"]
    value, checked = monitored(record), certificates_of(record).get(about.format)
    inputs, outputs = kind_of(facts_of_export(export))
    return RegisterRequest(
        name=name,
        alias=alias,
        run=record["id"],
        experiment=record["name"],
        metric=monitor["name"],
        value=float("nan") if value is None else value,
        mode="max" if monitor["higher_is_better"] else "min",
        data=data["name"],
        fingerprint=data["fingerprint"],
        format=about.format,
        inputs=inputs,
        outputs=outputs,
        card=describe_version(
            monitor=monitor["name"],
            metrics=record["metrics"],
            best_epoch=record["best_epoch"],
            data_name=data["name"],
            stand_in_for=data["source"].get("stand_in_for"),
            fingerprint=data["fingerprint"],
            facts={
                "run": record["id"],
                "experiment": record["name"],
                "format": f"{about.format}, run by {about.runtime}",
                "takes": about.takes,
                "answers": about.answers,
                **({} if checked is None else {"checked": str(checked)}),
            },
        ),
    )


def kind_of(export: Mapping[str, Any]) -> tuple[str, str]:
    """Return in words what a model takes and answers, the same for models that can stand for each other.

    Args:
        export: what it says of itself.
    """
    taken, answered = export["input"], export["target"]
    if "columns" in taken:
        inputs = f"tables with the columns {', '.join(taken['columns'])}"
    elif "height" in taken:
        colours = f" of {taken['channels']} colours" if taken["channels"] > 1 else ""
        inputs = f"images of {taken['height']} x {taken['width']} pixels{colours}"
    else:
        inputs = str(taken.get("kind", ""))
    if "labels" in answered:
        return inputs, f"the labels {', '.join(map(str, answered['labels']))}"
    unit = f" in {answered['unit']}" if answered.get("unit") else ""
    return inputs, f"{', '.join(answered.get('names', ()))}{unit}"


def register_export(
    tracker: Tracker,
    export: Path,
    record: Mapping[str, Any],
    chosen: ExportSettings,
    *,
    model: str = "model",
    step: int,
) -> None:
    """Register an export that is a model of its run, where that is asked for.

    Args:
        tracker: of the run.
        export: its folder.
        record: of the run, with its result.
        chosen: whether, as what, and under which alias.
        model: its name among the models of the run.
        step: epoch of its weights.
    """
    if chosen.register is not None:
        request = request_for(record, export, chosen.register, chosen.alias)
        tracker.register(export, request, name=model, step=step)
