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


def view_tag(name: str) -> str:
    """Return the tag of an experiment that holds a view, which `...&viewStateShareKey=NAME` shows."""
    return f"mlflow.sharedViewState.{name}"


def sweep_view(sweep: str) -> str:
    """Return the name of the view of a sweep."""
    return f"sweep-{sweep}"


def sweep_page(experiment_id: str, sweep: str) -> str:
    """Return the part of the UI's address that shows the jobs of a sweep in charts."""
    view = f"workflowType=machine_learning&viewStateShareKey={sweep_view(sweep)}&compareRunsMode=CHART"
    return f"#/experiments/{experiment_id}/runs?{view}"


def sweep_state(parent: str, varies: Sequence[str], metrics: Sequence[str], *, higher_is_better: bool = True) -> str:
    """Return the view of a sweep: its jobs alone, what varies, the best first, and a parallel-coordinates chart.

    MLflow's own charts begin with the first parameters by the alphabet that differ in any way.

    Args:
        parent: id of the sweep's run.
        varies: names of the parameters that its jobs do not share.
        metrics: names under which runs record their results; the first one ranks. None yet: no chart.
        higher_is_better: its direction.
    """
    columns = [f"params.`{name}`" for name in varies] + [f"metrics.`{name}`" for name in metrics]
    state: dict[str, Any] = {
        "selectedColumns": ["attributes.`Duration`", *columns, "tags.`sweep.best`", "tags.`status.reason`"],
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": f"metrics.`{metrics[0]}`" if metrics else "attributes.start_time",
        "orderByAsc": bool(metrics) and not higher_is_better,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "SHOWALL",
    }
    if metrics:
        card = {"runsCountToCompare": 1000, "metricSectionId": "sweep", "deleted": False, "isGenerated": False}
        lines = {"type": "PARALLEL", "uuid": "sweep-lines", "showAllRuns": False}
        bars = {"type": "BAR", "uuid": "sweep-bars", "metricKey": metrics[0]}
        state["compareRunCharts"] = [
            {**card, **lines, "selectedParams": list(varies), "selectedMetrics": [metrics[0]]},
            {**card, **bars},
        ]
        section = {"uuid": "sweep", "name": "what varies", "display": True, "isReordered": True}
        state["compareRunSections"] = [{**section, "columns": 2, "cardHeight": 480}]
        state["isAccordionReordered"] = True  # else MLflow sorts the sections by their names
    return json.dumps(state)
