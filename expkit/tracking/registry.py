"""A run's model becomes a version of a registered model; an alias such as "champion" goes to the best version."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from expkit.tracking.schema_lock import schema_lock
from expkit.tracking.store import Store
from expkit.tracking.text import masked, shortened

MODEL_ID, METRIC, VALUE, DIRECTION, FINGERPRINT = (
    "model_id",
    "metric",
    "metric.value",
    "metric.mode",
    "data.fingerprint",
)
"""Tags of a version by which it is found again, and compared with others."""
INPUTS, OUTPUTS = "inputs", "outputs"
"""Tags of a version: what it takes and answers, which whoever loads the next one relies on."""
DECISION = "decision"
"""Tag of a version: what became of the alias, and why."""
OUTCOME = "registered."
"""Tag of a run, with the name of the registered model behind it: which version it became."""
_VERSIONS = "mlflow.modelVersions"
"""Tag of a logged model by which MLflow's page names its versions; MLflow's server sets it by itself."""
_MAX_TAG = 5000
_MAX_NAMED = 100
_NEAR = 20
_MOMENTS = 120_000
"""Milliseconds within which versions of two jobs count as registered at the same time."""


@dataclass(frozen=True)
class RegisterRequest:
    """What is registered, and what it is compared by.

    Attributes:
        name: of the registered model.
        alias: of its best version; None gives nobody one.
        run: id of the run in expkit.
        experiment: name of the experiment.
        metric: by which the run chose its best weights, such as "valid/accuracy".
        value: of these weights.
        mode: "max" or "min", the better direction.
        data: name of the data.
        fingerprint: SHA-256 of the data.
        format: of the export, such as "paddle" or "onnx-int8".
        card: text of the version's page, markdown.
        inputs: what the model takes, in words.
        outputs: what it answers.
    """

    name: str
    alias: str | None
    run: str
    experiment: str
    metric: str
    value: float
    mode: str
    data: str
    fingerprint: str
    format: str
    card: str = ""
    inputs: str = ""
    outputs: str = ""

    def tags(self, model_id: str) -> dict[str, str]:
        """Return the tags of the version."""
        found = {
            "run": self.run,
            "experiment": self.experiment,
            METRIC: self.metric,
            VALUE: repr(float(self.value)),
            DIRECTION: self.mode,
            "data": self.data,
            FINGERPRINT: self.fingerprint,
            "format": self.format,
            MODEL_ID: model_id,
            **({INPUTS: self.inputs, OUTPUTS: self.outputs} if self.inputs else {}),
        }
        return {key: shortened(masked(value), _MAX_TAG) for key, value in found.items()}


class Registered(NamedTuple):
    """What became of a request.

    Attributes:
        name: of the registered model.
        version: number of the version.
        has_alias: whether the alias is its own now.
        decision: on the alias, and why, in words; empty where there is to be none.
        kind: how its inputs or outputs differ from those of the version before; empty where they do not.
    """

    name: str
    version: int
    has_alias: bool = False
    decision: str = ""
    kind: str = ""

    def __str__(self) -> str:
        """Return it for people: "version 3 of digits, champion: valid/accuracy 0.98 is better than ..."."""
        told = f"version {self.version} of {self.name}" + (f", {self.decision}" if self.decision else "")
        return f"{told}. {self.kind}" if self.kind else told


def register(store: Store, run_id: str, model_id: str, request: RegisterRequest) -> Registered:
    """Make a run's model a version of a registered model, and give it the alias if it is better than who has it.

    A model that is a version already is not registered twice. Processes that register at the same time wait for each
    other where the store is a database; behind a server, where they cannot, each looks again at what the others did.

    Args:
        store: with the run.
        run_id: of the run.
        model_id: of its logged model.
        request: what is registered.

    Raises:
        Exception: whatever the store raises.
    """
    with schema_lock(store.uri):  # the registry's tables too are made when they are first used
        _make_registered_model(store, request)
        version = _version_of(store, request, model_id) or _make_version(store, run_id, model_id, request)
        _link(store, model_id, request.name, version)
        made = store.client.get_model_version(request.name, str(version))
        came = _decide(store, request, made)._replace(kind=_other_kind(made, _before(store, made)))
    store.client.set_tag(run_id, OUTCOME + request.name, str(came))
    return came


def _decide(store: Store, request: RegisterRequest, made: Any) -> Registered:
    """Give a version the alias if it is better than who has it."""
    version = int(made.version)
    if request.alias is None:
        return Registered(request.name, version)
    champion = _champion(store, request)
    better, why = compare(made.tags, None if champion is None else champion.tags, _named(champion))
    if champion is not None and int(champion.version) == version:
        return Registered(request.name, version, True, f"{request.alias} already")
    if better:
        store.client.set_registered_model_alias(request.name, request.alias, str(version))
        holder = made
        # Another process may have given it to a better one, and this one has just taken that away. Whoever sets it
        # looks again afterwards, so that the last of them has seen all.
        while (rival := _rival(store, made, holder)) is not None:
            store.client.set_registered_model_alias(request.name, request.alias, rival.version)
            better, why = compare(made.tags, rival.tags, _named(rival))
            holder = rival
    told = shortened(f"{request.alias}: {why}" if better else f"not {request.alias}: {why}", _MAX_TAG)
    store.client.set_model_version_tag(request.name, str(version), DECISION, told)
    return Registered(request.name, version, better, told)


def _before(store: Store, made: Any) -> Any:
    """Return the version before this one whose kind is known; None where there is none."""
    found = store.client.search_model_versions(
        f"name = '{made.name}'", max_results=_NEAR, order_by=["version_number DESC"]
    )
    earlier = [one for one in found if int(one.version) < int(made.version) and INPUTS in one.tags]
    return max(earlier, key=lambda one: int(one.version), default=None)


def _other_kind(made: Any, before: Any) -> str:
    """Say how a version is of another kind than the one before: who loads the newest would find out by an error."""
    if before is None or INPUTS not in made.tags:
        return ""
    told = []
    for tag, does in ((INPUTS, "takes"), (OUTPUTS, "answers")):
        here, there = (shortened(one.tags.get(tag, ""), _MAX_NAMED) for one in (made, before))
        if made.tags.get(tag) != before.tags.get(tag):
            told.append(f"it {does} {here}, and {_named(before)} {there}")
    return f"Of another kind than the one before: {'; '.join(told)}" if told else ""


def compare(new: Mapping[str, str], old: Mapping[str, str] | None, named: str = "") -> tuple[bool, str]:
    """Return whether a version is better than the one that has the alias, and why or why not, in words.

    Args:
        new: its tags.
        old: those of the other; None where nobody has the alias.
        named: what the other is called.
    """
    metric, value = new.get(METRIC, ""), _number(new.get(VALUE))
    here = f"{metric} {value:.6g}"
    if not math.isfinite(value):
        return False, f"its {here} is no number to compare by"
    if old is None:
        return True, f"nobody had it before; {here}"
    then = _number(old.get(VALUE))
    if old.get(METRIC) != metric or old.get(DIRECTION) != new.get(DIRECTION) or math.isnan(then):
        theirs = old.get(METRIC) or "no metric of expkit's"
        return False, f"{named} cannot be compared with it: that is measured by {theirs}, this one by {metric}"
    if old.get(FINGERPRINT) != new.get(FINGERPRINT):
        return False, f"{named} cannot be compared with it: that was measured on other data ({old.get('data', '?')})"
    there = f"{then:.6g} of {named}"
    if value == then:
        return False, f"{here} is no better than {there}"
    better = value > then if new.get(DIRECTION) == "max" else value < then
    return better, f"{here} is {'better' if better else 'worse'} than {there}"


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _named(version: Any) -> str:
    return "" if version is None else f"version {version.version}"


def _make_registered_model(store: Store, request: RegisterRequest) -> None:
    """Make it where there is none; what somebody has written on its page stays."""
    with contextlib.suppress(Exception):  # what is the matter, the next call says as well
        store.client.get_registered_model(request.name)
        return
    text = f"Models of the experiment **{masked(request.experiment)}**."
    if request.alias is not None:
        better = "higher" if request.mode == "max" else "lower"
        text += (
            f" A new version gets the alias `{request.alias}` if its {request.metric} is {better} than that of the "
            "version that has it, on the same data.\n\n"
            f'```python\nmodel = mlflow.pyfunc.load_model("models:/{request.name}@{request.alias}")\n```\n'
        )
    try:
        store.client.create_registered_model(request.name, description=text)
    except Exception as error:
        if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":  # as by another process, at this moment
            raise


def _version_of(store: Store, request: RegisterRequest, model_id: str) -> int | None:
    """Return the version that a model is already, as after a crash before that was noted."""
    known = f"name = '{request.name}' and tags.{MODEL_ID} = '{model_id}'"
    return min((int(one.version) for one in store.client.search_model_versions(known)), default=None)


def _make_version(store: Store, run_id: str, model_id: str, request: RegisterRequest) -> int:
    model = store.client.get_logged_model(model_id)
    made = store.client.create_model_version(
        request.name,
        # Not "models:/<id>": for that MLflow asks its global store, which may be another one.
        source=model.artifact_location,
        run_id=run_id,
        tags=request.tags(model_id),
        description=masked(request.card) or None,
        await_creation_for=0,
        model_id=model_id,
    )
    return int(made.version)


def _link(store: Store, model_id: str, name: str, version: int) -> None:
    """Have the page of the logged model name its version."""
    noted = store.client.get_logged_model(model_id).tags.get(_VERSIONS)
    versions = json.loads(noted) if noted else []
    mine = {"name": name, "version": version}
    if all((one["name"], int(one["version"])) != (name, version) for one in versions):
        store.client.set_logged_model_tags(model_id, {_VERSIONS: json.dumps([*versions, mine])})


def _champion(store: Store, request: RegisterRequest) -> Any:
    """Return the version that has the alias; None where none has."""
    number = store.client.get_registered_model(request.name).aliases.get(request.alias)
    # A version that is deleted takes its aliases with it.
    return None if number is None else store.client.get_model_version(request.name, str(number))


def _rival(store: Store, made: Any, holder: Any) -> Any:
    """Return the best of the versions that were registered at the time of `made`, if it is better than the holder."""
    if not store.uri.startswith(("http://", "https://")):
        return None
    best = holder
    for one in store.client.search_model_versions(f"name = '{made.name}'"):
        at_once = one.creation_timestamp > made.creation_timestamp - _MOMENTS
        if at_once and METRIC in one.tags and compare(one.tags, best.tags)[0]:
            best = one
    return None if best is holder else best


def outcome(store: Store, run_id: str, name: str) -> str:
    """Return what a run became in a registered model, in words; empty where nothing."""
    return str(store.client.get_run(run_id).data.tags.get(OUTCOME + name, ""))


def facts_of(request: RegisterRequest, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a journal has to hold of a registration.

    Args:
        request: what is registered.
        model: facts of the operation that recorded the model.
    """
    return {**asdict(request), "card": masked(request.card), "model": dict(model)}


def request_of(facts: Mapping[str, Any]) -> RegisterRequest:
    """Return the request that a journal holds."""
    return RegisterRequest(**{name: facts[name] for name in RegisterRequest.__dataclass_fields__ if name in facts})
