"""How runs look in MLflow's pages: the columns of the table, and a colour that tells neighbours apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
"""Without it the UI asks every visitor whether this is a GenAI project."""

VIEW_KEY = "expkit"
"""`.../runs?viewStateShareKey=expkit` shows the table with the columns below."""

_VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"

COLOR = "mlflow.runColor"

_METRICS = ("accuracy", "mse", "mae", "loss")
_PARAMETERS = (
    *(
        "dataset.batch_size",
        "model",
        "optimizer",
        "optimizer.learning_rate",
        "regularizer",
        "schedule",
        "seed",
    ),
)
_TAGS = ("data.name", "status.reason")
_PALETTE = (
    *("#2272B4", "#D55E00", "#009E73", "#CC3E8B", "#8A63D2", "#B8860B"),
    *("#56B4E9", "#A6402B", "#4C9A2A", "#5B5B5B", "#E6A000", "#1F4E79"),
)


def experiment_tags(metrics: Sequence[str] = ()) -> dict[str, str]:
    """Tags of a new experiment; MLflow ignores columns that its runs do not have.

    Args:
        metrics: names of the metrics of its first run, such as "accuracy"; they get the first columns.
    """
    columns = ["attributes.`Duration`"]
    names = list(dict.fromkeys((*metrics, *_METRICS)))
    columns += _metric_columns(names)
    columns += [f"params.`{name}`" for name in _PARAMETERS]
    columns += [f"tags.`{name}`" for name in _TAGS]
    state = {
        "selectedColumns": columns,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }
    kind, value = EXPERIMENT_KIND
    return {kind: value, _VIEW_TAG: json.dumps(state)}


def show_columns(client: Any, experiment_id: str, metrics: Sequence[str]) -> None:
    """Add the columns that these metrics lack, behind the others, to the table of an experiment that expkit made."""
    view = client.get_experiment(experiment_id).tags.get(_VIEW_TAG) if metrics else None
    if not view:
        return
    state = json.loads(view)
    shown: list[str] = state["selectedColumns"]
    missing = [column for column in _metric_columns(metrics) if column not in shown]
    if missing:
        last = max((i for i, column in enumerate(shown) if column.startswith("metrics.")), default=len(shown) - 1)
        shown[last + 1 : last + 1] = missing
        client.set_experiment_tag(experiment_id, _VIEW_TAG, json.dumps(state))


def _metric_columns(names: Sequence[str]) -> list[str]:
    return [f"metrics.`{split}/{name}`" for split in ("test", "valid") for name in names]


def next_color(client: Any, experiment_id: str) -> str:
    """Colour after that of the newest run: MLflow's own come from a hash and often collide."""
    newest = client.search_runs([experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
    before = newest[0].data.tags.get(COLOR, "") if newest else ""
    return _PALETTE[(_PALETTE.index(before) + 1) % len(_PALETTE) if before in _PALETTE else 0]
