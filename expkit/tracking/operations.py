"""What each operation of a journal is in MLflow's terms; all of them may be done twice without harm."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from expkit.tracking.journal import BEGIN, METRICS, Operation, read_journal
from expkit.tracking.store import Store, import_mlflow
from expkit.tracking.tags import BEST, BEST_CHILD, DESCRIPTION, IDENTITY, PARENT, PARENT_IDENTITY, REASON
from expkit.tracking.text import clean_key, masked, shortened
from expkit.tracking.view import COLOR, next_color, show_columns, view_tag

RUN_ID, EXPERIMENT_ID = "{mlflow_run_id}", "{mlflow_experiment_id}"
"""What a description may hold; it is known only when the run is in a store."""
MAX_PARAM = 6000
MAX_TAG = 8000
PER_CALL = 100
"""MLflow takes at most so many parameters, and so many tags, in one call."""
_MOST = 1000

WAITS = {"file", "folder", "text", "model", "register"}
"""Operations that need not hold up what comes after them: they write to a file system, which may be full."""


def _unheard(told: str) -> None:
    """Nobody listens."""


class Destination(NamedTuple):
    """Where an operation goes.

    Attributes:
        store: that is open.
        run_id: of the MLflow run.
        folder: of the run.
        tell: hears what came of it, where that is for people.
    """

    store: Store
    run_id: str
    folder: Path
    tell: Callable[[str], None] = _unheard


class Point(NamedTuple):
    """One value of one metric; its time makes a second attempt to store it harmless.

    Attributes:
        key: name of the metric.
        value: may be NaN or infinite.
        timestamp: milliseconds since 1970.
        step: position on the x axis.
    """

    key: str
    value: float
    timestamp: int
    step: int


def points_of(facts: Mapping[str, Any]) -> list[Point]:
    """Return the metric points of a "metrics" operation."""
    return [Point(clean_key(key), value, facts["time"], facts["step"]) for key, value in facts["values"].items()]


def in_words(operation: Operation) -> str:
    """Say what an operation stores, for people."""
    facts = operation.facts
    texts: dict[str, Callable[[], str]] = {
        METRICS: lambda: f"{len(facts['values'])} metric points of step {facts['step']}",
        "file": lambda: f"the file {facts['path']}",
        "folder": lambda: f"the files in {facts['path']}",
        "text": lambda: f"the file {facts['into']}",
        "model": lambda: "the exported model",
        "register": lambda: f"its registration as {facts['name']}",
        "inputs": lambda: "the data's source",
        "end": lambda: "the run's status",
        "reopen": lambda: "the run's status",
        "view": lambda: "the page of the sweep",
        "best": lambda: "which job is the best",
        BEGIN: lambda: "the run itself",
    }
    return texts.get(operation.what, lambda: operation.what)()


def begin(store: Store, facts: Mapping[str, Any]) -> str:
    """Make the run, or complete one whose making was cut short; returns its id."""
    show_columns(store.client, store.experiment_id, facts["metrics"])
    found = with_identity(store, facts["id"])
    known = dict(found[0].data.params) if found else {}
    if found:
        run_id = str(found[0].info.run_id)
    else:
        tags = {IDENTITY: facts["id"], COLOR: next_color(store.client, store.experiment_id)}
        made = store.client.create_run(store.experiment_id, start_time=facts["time"], tags=tags, run_name=facts["name"])
        run_id = str(made.info.run_id)
    wanted: dict[str, str] = facts["params"]
    params = [import_mlflow().entities.Param(key, wanted[key]) for key in wanted if key not in known]
    for start in range(0, len(params), PER_CALL):
        store.client.log_batch(run_id, params=params[start : start + PER_CALL])
    # An earlier start of the same run may have been otherwise, and MLflow lets no parameter change.
    changed = {
        f"changed.{key}": f"{known[key]} -> {wanted[key]}" for key in known if wanted.get(key, known[key]) != known[key]
    }
    tags = {**facts["tags"], **_nesting(store, facts["tags"]), **tidy(changed)}
    set_tags(Destination(store, run_id, Path()), {"tags": tags})
    return run_id


def _nesting(store: Store, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tag that nests a sweep's job in the sweep's run, which is in the same store."""
    parent = with_identity(store, tags[PARENT_IDENTITY]) if PARENT_IDENTITY in tags else []
    return {PARENT: str(parent[0].info.run_id)} if parent else {}


def with_identity(store: Store, identity: str) -> list[Any]:
    """Return the runs of the experiment that are, or are to become, a certain one."""
    known = f"tags.`{IDENTITY}` = '{identity}'"
    return list(store.client.search_runs([store.experiment_id], known, max_results=1))


def set_tags(to: Destination, facts: Mapping[str, Any]) -> None:
    """Record tags."""
    tag = import_mlflow().entities.RunTag
    tags = dict(facts["tags"])
    if DESCRIPTION in tags:
        known = {RUN_ID: to.run_id, EXPERIMENT_ID: to.store.experiment_id}
        for name, value in known.items():
            tags[DESCRIPTION] = tags[DESCRIPTION].replace(name, value)
    made = [tag(key, value) for key, value in tags.items()]
    for start in range(0, len(made), PER_CALL):
        to.store.client.log_batch(to.run_id, tags=made[start : start + PER_CALL])


def tidy(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags as every store takes them, without passwords."""
    return {clean_key(key): shortened(masked(str(value), key), MAX_TAG) for key, value in tags.items()}


def _inputs(to: Destination, facts: Mapping[str, Any]) -> None:
    entities = import_mlflow().entities
    inputs = []
    for one in facts["data"]:
        tags = [entities.InputTag(key, value) for key, value in one["tags"].items()]
        dataset = entities.Dataset(
            name=one["name"],
            digest=one["digest"],
            source_type=one["source_type"],
            source=json.dumps(one["source"]),
            profile=json.dumps(one["profile"]),
        )
        inputs.append(entities.DatasetInput(dataset, tags))
    to.store.client.log_inputs(to.run_id, datasets=inputs)


def _file(to: Destination, facts: Mapping[str, Any]) -> None:
    to.store.client.log_artifact(to.run_id, str(to.folder / facts["path"]), facts["into"] or None)


def _folder(to: Destination, facts: Mapping[str, Any]) -> None:
    source = to.folder / facts["path"]
    if not source.is_dir():
        raise FileNotFoundError(source)
    to.store.client.log_artifacts(to.run_id, str(source), facts["into"] or None)


def _text(to: Destination, facts: Mapping[str, Any]) -> None:
    place = Path(facts["into"])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / place.name
        file.write_text(facts["text"], encoding="utf-8")
        to.store.client.log_artifact(to.run_id, str(file), None if place.parent == Path() else place.parent.as_posix())


def _model(to: Destination, facts: Mapping[str, Any]) -> str:
    from expkit.tracking.model import Measured, log_model

    params: dict[str, str] = {}
    results: dict[str, Point] = {}
    test_data: tuple[str, str] | None = None
    for earlier in read_journal(to.folder):
        if earlier.what == BEGIN:
            params = earlier.facts["params"]
        elif earlier.what == METRICS:
            results.update((p.key, p) for p in points_of(earlier.facts) if p.key.startswith("test/"))
        elif earlier.what == "inputs":
            test_data = next(((d["name"], d["digest"]) for d in earlier.facts["data"] if d["split"] == "test"), None)
    measured = Measured(params, list(results.values()), test_data)
    return log_model(to.store, to.run_id, to.folder / facts["path"], measured, name=facts["name"], step=facts["step"])


def _register(to: Destination, facts: Mapping[str, Any]) -> None:
    from expkit.tracking.registry import register, request_of

    model_id = _model(to, facts["model"])  # mostly there already; where not, what is the matter with it is the matter
    to.tell(f"registered as {register(to.store, to.run_id, model_id, request_of(facts))}")


def _view(to: Destination, facts: Mapping[str, Any]) -> None:
    state = facts["state"].replace(RUN_ID, to.run_id)
    to.store.client.set_experiment_tag(to.store.experiment_id, view_tag(facts["name"]), state)


def _best(to: Destination, facts: Mapping[str, Any]) -> None:
    """Tag one child as the best, and only that one."""
    client, here = to.store.client, [to.store.experiment_id]
    found = with_identity(to.store, facts["child"])
    child = str(found[0].info.run_id) if found else ""
    for run in client.search_runs(
        here, f"tags.`{PARENT}` = '{to.run_id}' and tags.`{BEST}` = 'true'", max_results=_MOST
    ):
        if run.info.run_id != child:
            client.delete_tag(run.info.run_id, BEST)
    if child:
        client.set_tag(child, BEST, "true")
        client.set_tag(to.run_id, BEST_CHILD, child)


def _reopen(to: Destination, facts: Mapping[str, Any]) -> None:
    to.store.client.update_run(to.run_id, status="RUNNING")
    if REASON in to.store.client.get_run(to.run_id).data.tags:
        to.store.client.delete_tag(to.run_id, REASON)


def _end(to: Destination, facts: Mapping[str, Any]) -> None:
    if facts["reason"]:
        set_tags(to, {"tags": tidy({REASON: facts["reason"]})})
    to.store.client.set_terminated(to.run_id, facts["status"], facts["time"])


HANDLERS: dict[str, Callable[[Destination, Mapping[str, Any]], object]] = {
    "tags": set_tags,
    "inputs": _inputs,
    "file": _file,
    "folder": _folder,
    "text": _text,
    "model": _model,
    "register": _register,
    "view": _view,
    "best": _best,
    "reopen": _reopen,
    "end": _end,
}
