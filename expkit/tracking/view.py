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

MOST_AXES = 5
"""Parameters in the chart of a sweep, beside its metric: the names of more write over each other."""

_METRICS = ("accuracy", "mse", "mae", "loss")
_PARAMETERS = (
    *("model", "optimizer", "optimizer.learning_rate", "schedule", "regularizer"),
    *("dataset.batch_size", "trainer.epochs", "seed"),
)
_REASON, _DATA = "tags.`status.reason`", "tags.`data.name`"
_NAME, _CREATED, _DURATION = "attributes.`Run Name`", "runDateAndNestInfo", "duration"
"""Ids of the columns that MLflow's table always has."""
_WIDE = {_REASON: 330, _DATA: 200}
_PALETTE = (
    *("#2272B4", "#D55E00", "#009E73", "#CC3E8B", "#8A63D2", "#B8860B"),
    *("#56B4E9", "#A6402B", "#4C9A2A", "#5B5B5B", "#E6A000", "#1F4E79"),
)


def experiment_tags(metrics: Sequence[str] = ()) -> dict[str, str]:
    """Tags of a new experiment; MLflow ignores columns that its runs do not have.

    Args:
        metrics: names of the metrics of its first run, such as "accuracy"; they get the first columns.
    """
    names = list(dict.fromkeys((*metrics, *_METRICS)))
    columns = [_REASON, *(column("metrics", name) for name in _results(names))]
    columns += [*(column("params", name) for name in _PARAMETERS), _DATA]
    state = {**_table(columns), "orderByKey": "attributes.start_time", "orderByAsc": False, "searchFilter": ""}
    main = names[0]
    both = [[f"train/{name}", f"valid/{name}"] for name in dict.fromkeys(("loss", main))]
    bars = [_chart("results", "BAR", metricKey=name) for name in _results([main])]
    curves = [
        _chart("curves", "LINE", metricKey=pair[0], selectedMetricKeys=pair, xAxisKey="step", lineSmoothness=0)
        for pair in both
    ]
    sections = [_section("results", "results"), _section("curves", "training and validation")]
    state |= {"compareRunCharts": [*bars, *curves], "compareRunSections": sections, "isAccordionReordered": True}
    kind, value = EXPERIMENT_KIND
    return {kind: value, _VIEW_TAG: json.dumps(state)}


def show_columns(client: Any, experiment_id: str, metrics: Sequence[str]) -> None:
    """Add the columns that these metrics lack, behind the others, to the table of an experiment that expkit made."""
    view = client.get_experiment(experiment_id).tags.get(_VIEW_TAG) if metrics else None
    if not view:
        return
    state = json.loads(view)
    shown: list[str] = state["selectedColumns"]
    missing = [one for one in (column("metrics", name) for name in _results(metrics)) if one not in shown]
    if missing:
        last = max((i for i, one in enumerate(shown) if one.startswith("metrics.")), default=len(shown) - 1)
        shown[last + 1 : last + 1] = missing
        state |= _table([one for one in shown if not one.startswith("attributes.")])
        client.set_experiment_tag(experiment_id, _VIEW_TAG, json.dumps(state))


def column(kind: str, name: str) -> str:
    """Return the id of a column of MLflow's table.

    Args:
        kind: "metrics", "params" or "tags".
        name: of one of these.
    """
    return f"{kind}.`{name}`"


def _results(names: Sequence[str]) -> list[str]:
    """Name the results of a run, that of the test beside that of the best epoch's validation."""
    return [f"{split}{name}" for name in names for split in ("test/", "valid/best_")]


def _table(columns: Sequence[str]) -> dict[str, Any]:
    """Return the part of a view that is about the table: which columns, in which order, and as wide as their names."""
    widths = {one: max(100, 8 * len(one.partition("`")[2]) + 24) for one in columns}
    return {
        "selectedColumns": ["attributes.`Duration`", *columns],
        "columnOrder": [_NAME, _CREATED, _DURATION, *columns],
        "columnWidths": {_NAME: 270, **widths, **{one: width for one, width in _WIDE.items() if one in columns}},
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "FIRST_20_RUNS",
    }


def _chart(section: str, kind: str, **more: Any) -> dict[str, Any]:
    fixed = {"runsCountToCompare": 1000, "deleted": False, "isGenerated": False}
    name = f"{section}-{more.get('metricKey', kind)}"
    return {**fixed, "metricSectionId": section, "type": kind, "uuid": name, **more}


def _section(uuid: str, name: str) -> dict[str, Any]:
    # MLflow sorts sections by their names, unless they are "reordered"
    return {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": 2, "cardHeight": 360}


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


def sweep_state(
    parent: str,
    varies: Sequence[str],
    metrics: Sequence[str],
    axes: Sequence[str] | None = None,
    *,
    higher_is_better: bool = True,
) -> str:
    """Return the view of a sweep: its jobs alone, what varies, the best first, and a parallel-coordinates chart.

    MLflow's own charts begin with the first parameters by the alphabet that differ in any way.

    Args:
        parent: id of the sweep's run.
        varies: names of the parameters that its jobs do not share.
        metrics: names under which runs record their results; the first one ranks.
        axes: names of the parameters that each job has, for the chart leaves out a job that lacks one; by default all
            that vary. The first `MOST_AXES` are shown, a seed last.
        higher_is_better: its direction.
    """
    columns = [column("params", name) for name in varies] + [column("metrics", name) for name in metrics]
    state = _table([_REASON, *columns, column("tags", "sweep.best")])
    state |= {
        "runsHiddenMode": "SHOW_ALL",
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        # Not by time, for then MLflow shows the sweep's own run, with the jobs folded into it.
        "orderByKey": column("metrics", metrics[0]),
        "orderByAsc": not higher_is_better,
    }
    shown = sorted(varies if axes is None else axes, key=lambda name: name == "seed")[:MOST_AXES]
    lines = _chart("sweep", "PARALLEL", showAllRuns=False, selectedParams=shown, selectedMetrics=[metrics[0]])
    bars = _chart("sweep", "BAR", metricKey=metrics[0])
    state["compareRunCharts"] = [lines, bars] if shown else [bars]
    # One below the other: the names of the axes need the whole width.
    state["compareRunSections"] = [{**_section("sweep", "what varies"), "columns": 1, "cardHeight": 400}]
    state["isAccordionReordered"] = True
    return json.dumps(state)
