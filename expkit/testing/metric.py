"""What a metric promises."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from expkit.api import Array, Classes, ConfigError, DataSpec
from expkit.metrics import packed, unpacked
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, broken, require
from expkit.testing.subject import Subject


def _batch(spec: DataSpec) -> tuple[Array, Array]:
    """Return random outputs and targets that cannot be written to."""
    targets = example_batch(spec).targets
    dtype = np.float32 if spec.is_classification else targets.dtype
    outputs: Array = np.random.default_rng(1).standard_normal((len(targets), spec.outputs)).astype(dtype)
    for array in (outputs, targets):
        array.setflags(write=False)
    return outputs, targets


def _measured(metric: Any, outputs: Array, targets: Array, cuts: Sequence[int] = ()) -> float:
    metric.reset()
    for o, t in zip(np.split(outputs, cuts), np.split(targets, cuts), strict=True):
        metric.update(o, t)
    return float(metric.compute())


@promise("metric", name="direction", each="spec", text="`higher_is_better` says in True or False which way is better.")
def direction(subject: Subject, spec: DataSpec) -> None:
    """Look at the attribute."""
    found = getattr(subject.made(spec), "higher_is_better", None)
    require(isinstance(found, bool), expected="higher_is_better: True or False", got=repr(found))


@promise("metric", name="empty", each="spec", text="It is NaN as long as there were no batches.")
def empty(subject: Subject, spec: DataSpec) -> None:
    """Compute before the first batch."""
    value = subject.make(spec).compute()
    require(math.isnan(value), expected="nan before the first batch", got=value)


@promise("metric", name="value", each="spec", text="It computes a finite float, the same when it is asked again.")
def value(subject: Subject, spec: DataSpec) -> None:
    """Compute twice."""
    metric = subject.make(spec)
    metric.update(*_batch(spec))
    found, again = metric.compute(), metric.compute()
    kind = type(found).__name__
    require(isinstance(found, float) and math.isfinite(found), expected="a finite float", got=f"{kind} {found!r}")
    require(found == again, expected=f"{found} again", got=again)


@promise("metric", name="pure", each="spec", text="It does not write into outputs or targets.")
def pure(subject: Subject, spec: DataSpec) -> None:
    """Compare them before and after."""
    metric = subject.make(spec)
    given = [array.copy() for array in _batch(spec)]
    metric.update(*given)
    metric.compute()
    same = all(np.array_equal(one, other) for one, other in zip(given, _batch(spec), strict=True))
    require(same, expected="outputs and targets as they were", got="others", mend="copy before you change")


@promise("metric", name="additive", each="spec", text="Its value does not depend on how samples are cut into batches.")
def additive(subject: Subject, spec: DataSpec) -> None:
    """One batch, three, and batches of one."""
    metric, (outputs, targets) = subject.make(spec), _batch(spec)
    whole = _measured(metric, outputs, targets)
    for cuts in ([5, 6], list(range(1, len(targets)))):
        parts = _measured(metric, outputs, targets, cuts)
        close = math.isclose(whole, parts, rel_tol=1e-6, abs_tol=1e-12)
        mend = "add up numerator and denominator; do not average the values of batches"
        require(close, expected=f"{whole:.8g}, as of one batch", got=f"{parts:.8g} of {len(cuts) + 1}", mend=mend)


@promise("metric", name="better", each="spec", text="It calls right answers better than random ones.")
def better(subject: Subject, spec: DataSpec) -> None:
    """Compare them."""
    metric, (outputs, targets) = subject.make(spec), _batch(spec)
    right = 10 * np.eye(spec.outputs, dtype=np.float32)[targets] if spec.is_classification else targets
    best, random = _measured(metric, right, targets), _measured(metric, outputs, targets)
    higher = getattr(metric, "higher_is_better", None)
    ordered = best >= random if higher else best <= random
    expected = f"{'at least' if higher else 'at most'} {random:.6g}, the value of random answers"
    require(ordered, expected=expected, got=f"{best:.6g} for right ones", mend="turn `higher_is_better` round")


@promise("metric", name="reset", each="spec", text="After a reset it has forgotten everything.")
def reset(subject: Subject, spec: DataSpec) -> None:
    """Measure the same before and after other batches."""
    metric, (outputs, targets) = subject.make(spec), _batch(spec)
    first = _measured(metric, outputs[:7], targets[:7])
    _measured(metric, outputs[7:], targets[7:])
    again = _measured(metric, outputs[:7], targets[:7])
    require(first == again, expected=f"{first:.8g}, as before", got=f"{again:.8g} after a reset")
    metric.reset()
    left = metric.compute()
    require(math.isnan(left), expected="nan after a reset", got=left)


@promise("metric", name="separate", each="spec", text="Two that are built share nothing.")
def separate(subject: Subject, spec: DataSpec) -> None:
    """Feed one and look at the other."""
    one, other = subject.make(spec), subject.make(spec)
    one.update(*_batch(spec))
    found = other.compute()
    mend = "make lists and arrays in __init__ or reset, not in the class"
    require(math.isnan(found), expected="nan of one that was fed nothing", got=found, mend=mend)


@promise("metric", name="state", each="spec", text="Where it has a state, that brings another one to the same value.")
def state(subject: Subject, spec: DataSpec) -> None:
    """Send the state of an empty and of a half-filled one through a checkpoint."""
    has = [hasattr(subject.made(spec), name) for name in ("state_dict", "load_state_dict")]
    require(has[0] == has[1], expected="both of state_dict and load_state_dict, or neither", got="one of them")
    if not has[0]:
        raise NotApplicable("it has no state_dict, so that a resumed epoch is measured in part only")
    outputs, targets = _batch(spec)
    for half in (0, 7):
        metric, other = subject.make(spec), subject.make(spec)
        other.update(outputs[7:], targets[7:])  # to be forgotten
        metric.reset()
        if half:
            metric.update(outputs[:half], targets[:half])
        try:
            kept = json.loads(json.dumps(packed(metric.state_dict())))
        except TypeError as error:
            broken(expected="a state of numbers, texts, lists, dicts and arrays", got=error)
        before = json.dumps(kept)
        other.load_state_dict(unpacked(kept))
        for each in (metric, other):
            each.update(outputs[half:], targets[half:])
        wanted, found = metric.compute(), other.compute()
        require(found == wanted, expected=f"{wanted} from a state of {half} samples", got=found)
        require(json.dumps(kept) == before, expected="the loaded state as it was", got="another", mend="copy it")


@promise(
    "metric", name="merges", each="spec", text="Where it has merge(), that is as good as to be given the same batches."
)
def merges(subject: Subject, spec: DataSpec) -> None:
    """Merge a half-filled one with another, which may be empty."""
    metric, (outputs, targets) = subject.make(spec), _batch(spec)
    if not hasattr(metric, "merge"):
        raise NotApplicable("it has no merge, so that a training step measures its batch twice")
    wanted = _measured(metric, outputs, targets)
    for cut in (7, len(targets)):
        other = subject.make(spec)
        metric.reset()
        metric.update(outputs[:cut], targets[:cut])
        if cut < len(targets):
            other.update(outputs[cut:], targets[cut:])
        metric.merge(other)
        found = float(metric.compute())
        close = math.isclose(wanted, found, rel_tol=1e-6, abs_tol=1e-12)
        require(close, expected=f"{wanted:.8g}, as of all samples", got=f"{found:.8g} of {cut} and the others, merged")


@promise("metric", name="shares", each="spec", text="Where it takes shares of classes [N, K], it is right about them.")
def shares(subject: Subject, spec: DataSpec) -> None:
    """Give it classes as shares; a metric for classes only may refuse them by any error."""
    if not spec.is_classification:
        raise NotApplicable("it is not for classes")
    metric, (outputs, classes) = subject.make(spec), _batch(spec)
    wanted = _measured(metric, outputs, classes)
    try:
        found = _measured(metric, outputs, np.eye(spec.outputs, dtype=np.float32)[classes])
    except Exception as error:
        raise NotApplicable("it takes classes only") from error
    same = math.isclose(found, wanted, rel_tol=1e-6)
    require(same, expected=f"{wanted:.8g} for shares that are all one class, as for classes", got=f"{found:.8g}")


@promise(
    "metric",
    name="scores",
    each="spec",
    text="It sees the same in probabilities as in logits: it looks at `spec.target.scores`.",
)
def scores(subject: Subject, spec: DataSpec) -> None:
    """Give it probabilities, and say so."""
    if not isinstance(spec.target, Classes):
        raise NotApplicable("it is not for classes")
    logits, classes = _batch(spec)
    try:
        metric = subject.make(replace(spec, target=replace(spec.target, scores="probabilities")))
    except ConfigError as error:
        raise NotApplicable("it says that it needs logits") from error
    wanted = _measured(subject.make(spec), logits, classes)
    found = _measured(metric, spec.target.probabilities(logits).astype(np.float32), classes)
    same = math.isclose(found, wanted, rel_tol=1e-4)
    mend = "read the outputs with spec.target.probabilities(outputs)"
    require(same, expected=f"{wanted:.6g}, as for logits", got=f"{found:.6g} for probabilities", mend=mend)


@uses("metric")
def _use(spec: DataSpec | None, metric: Any) -> None:
    assert spec is not None
    _measured(metric, *_batch(spec))
