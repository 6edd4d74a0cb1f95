"""What a callback promises."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.api import ArraySplit, Callback, ConfigError, DataSpec, EpochEnd, EpochStart, FitEnd, FitStart, StepEnd
from expkit.data import Batches
from expkit.events import ROLES
from expkit.metrics import Meter
from expkit.seeding import random_state, seed_everything
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, require
from expkit.testing.subject import Subject
from expkit.testing.toys import ToyLearner, ToyParts
from expkit.trainer import Monitor, Trainer

_EPOCHS, _DONE = 8, 4
_CLASS = "expkit.api.Callback"
_SEED = 76_543  # a callback that seeds has hardly this one
_METHODS = [name for name in vars(Callback) if name.startswith("on_")] + ["state_dict", "load_state_dict"]


@promise(
    "callback", name="methods", each="spec", text="It has every method of `Callback`, and a role: derive it from that."
)
def methods(subject: Subject, spec: DataSpec) -> None:
    """Look for them."""
    made = subject.made(spec)
    lacking = [name for name in _METHODS if not callable(getattr(made, name, None))]
    mend = "derive it from expkit.api.Callback"
    require(not lacking, expected=f"every method of {_CLASS}", got=f"without {', '.join(lacking)}", mend=mend)
    role = getattr(made, "role", "observer")
    require(role in ROLES, expected=f"a role that is {' or '.join(map(repr, ROLES))}", got=repr(role))


@promise(
    "callback",
    name="lives",
    each="spec",
    text="It lives through a training that is finished, stopped, or breaks off at once.",
)
def lives(subject: Subject, spec: DataSpec) -> None:
    """Tell it of trainings without a learner to show."""
    for status, epochs in (("finished", _EPOCHS), ("stopped", 1), ("failed", 0), ("interrupted", 0)):
        with _told(subject, spec) as (callback, _):
            _run_epochs(callback, spec, 1, epochs)
            callback.on_fit_end(FitEnd(status, "" if status == "finished" else "a reason", epochs, 2 * epochs))


@promise("callback", name="json", each="spec", text="Its state is JSON, with text as keys.")
def json_state(subject: Subject, spec: DataSpec) -> None:
    """Send the state through JSON, before training and within."""
    with _told(subject, spec) as (callback, _):
        for epochs in (0, _DONE):
            _run_epochs(callback, spec, 1, epochs)
            state = callback.state_dict()
            try:
                kept = json.loads(json.dumps(state, allow_nan=False))
            except (TypeError, ValueError) as error:
                kept = f"{type(error).__name__}: {error}"
            mend = "lists in place of tuples and arrays, float() of NumPy's numbers"
            require(kept == state, expected=f"what JSON keeps of {state}", got=kept, mend=mend)


@promise(
    "callback", name="state", each="spec", text="One that takes the state of another goes on as that one would have."
)
def state(subject: Subject, spec: DataSpec) -> None:
    """Stop half-way, and go on with another one."""
    with _told(subject, spec) as (callback, start):
        _run_epochs(callback, spec, 1, _DONE)
        kept = json.loads(json.dumps(callback.state_dict()))
        resumed = subject.make(spec)
        resumed.load_state_dict(json.loads(json.dumps(kept)))
        mend = "all that it remembers belongs into state_dict()"
        found = resumed.state_dict()
        require(found == kept, expected=f"the state {kept} after it was loaded", got=found, mend=mend)
        resumed.on_fit_start(replace(start, step=2 * _DONE))
        wanted, stops = (_run_epochs(each, spec, _DONE + 1, _EPOCHS) for each in (callback, resumed))
        require(stops == wanted, expected=f"its wishes to stop, {wanted}, after a resume", got=stops, mend=mend)
        wanted, found = callback.state_dict(), resumed.state_dict()
        require(found == wanted, expected=f"the state {wanted} at the end", got=found, mend=mend)


@promise(
    "callback",
    name="watches",
    text="It changes nothing: a training with it ends in the same weights, metrics and random numbers.",
)
def watches(subject: Subject) -> None:
    """Train a small network with it and without."""
    spec = subject.fitting()[-1]
    with tempfile.TemporaryDirectory() as folder:
        callback = subject.make(spec)
        if callable(getattr(callback, "state_dict", None)):
            callback.state_dict()
        try:
            found = _trained(spec, [callback], Path(folder))
        except ConfigError as error:
            raise NotApplicable(f"it refuses the small network that it would watch: {error}") from error
        wanted = _trained(spec, [], Path(folder))
    for what, one, other in zip(("weights", "metrics", "random numbers"), wanted, found, strict=True):
        mend = "work on copies: event.learner.state_dict() is one"
        if what == "random numbers":
            mend = "seed and draw from a generator of its own: numpy.random.default_rng(0)"
        require(one == other, expected=f"the same {what} as without it", got=f"other {what}", mend=mend)


def _trained(spec: DataSpec, callbacks: list[Any], folder: Path) -> tuple[Any, ...]:
    """Train two epochs; return the weights, the metrics and the state of the generators."""
    splits = [ArraySplit(b.inputs, b.targets) for b in (example_batch(spec, samples=12, seed=s) for s in (0, 1))]
    seed_everything(0)
    learner = ToyLearner(ToyParts(spec))
    seed_everything(_SEED)
    noted: list[Mapping[str, float]] = []
    noting = Callback()
    noting.on_epoch_end = lambda event: noted.append(dict(event.metrics))  # type: ignore[method-assign]
    Trainer(
        learner,
        *(Batches(split, spec, batch_size=5) for split in splits),
        meters={name: Meter({}) for name in ("step", "train", "eval")},
        callbacks=[*callbacks, noting],
        monitor=Monitor("valid/loss", False),
        epochs=2,
        folder=folder,
    ).fit()
    weights = {name: array.tobytes() for name, array in learner.state_dict().model.items()}
    return weights, noted, random_state()


@contextmanager
def _told(subject: Subject, spec: DataSpec) -> Iterator[tuple[Any, FitStart]]:
    """Yield a callback that was told that a training starts, and what it was told."""
    with tempfile.TemporaryDirectory() as folder:
        callback = subject.make(spec)
        start = FitStart(spec, _EPOCHS, 2, 0, Path(folder), _example_directions(spec))
        callback.on_fit_start(start)
        yield callback, start


def _run_epochs(callback: Any, spec: DataSpec, first: int, last: int) -> list[tuple[int, str]]:
    """Tell a callback of epochs whose loss falls until the third, then rises; return its wishes to stop."""
    stops: list[tuple[int, str]] = []
    for epoch in range(first, last + 1):
        callback.on_epoch_start(EpochStart(epoch))
        measured = _example_metrics(spec, epoch)
        for batch in (1, 2):
            step = 2 * (epoch - 1) + batch
            callback.on_step_end(StepEnd(epoch, step, batch, 16, measured["loss"], 0.01, measured))
        metrics = {f"{split}/{name}": value for split in ("train", "valid") for name, value in measured.items()}

        def stop(reason: str, epoch: int = epoch) -> None:
            stops.append((epoch, reason))

        callback.on_epoch_end(EpochEnd(epoch, 2 * epoch, metrics, epoch <= 3, 0.5, stop))
    return stops


def _example_metrics(spec: DataSpec, epoch: int) -> Mapping[str, float]:
    loss = 1.0 + abs(3 - epoch)
    return {"loss": loss, "accuracy": 1 / loss} if spec.is_classification else {"loss": loss, "mae": loss}


def _example_directions(spec: DataSpec) -> dict[str, bool]:
    names = _example_metrics(spec, 1)
    return {f"{split}/{name}": name == "accuracy" for split in ("train", "valid") for name in names}


@uses("callback")
def _use(spec: DataSpec | None, callback: Any) -> None:
    assert spec is not None
    with tempfile.TemporaryDirectory() as folder:
        callback.on_fit_start(FitStart(spec, _EPOCHS, 2, 0, Path(folder), _example_directions(spec)))
        _run_epochs(callback, spec, 1, _EPOCHS)
        callback.on_fit_end(FitEnd("finished", "", _EPOCHS, 2 * _EPOCHS))
