"""Checks of the kinds that work on NumPy arrays and plain values."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import (
    Array,
    Batch,
    Classes,
    ConfigError,
    Data,
    DataSpec,
    EpochEnd,
    EpochStart,
    FitEnd,
    FitStart,
    Split,
    StepEnd,
    Values,
)
from expkit.metrics import packed, unpacked
from expkit.testing.base import Component, build, check_options, each_fitting, require
from expkit.testing.examples import example_batch


def check_metric(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a metric: NaN without batches, the same value however samples are batched, the right direction.

    Where it has a state, that has to go through JSON and bring another one to the very same value.
    A metric of classes has to see the same in probabilities as in logits, as `spec.target.scores` says what they are.
    It may refuse shares [N, K], which some transforms make of classes, by any error; if it takes them, it has to be
    right about them.

    Args:
        component: the metric's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    check_options("metric", component)
    for spec, metric in each_fitting(component, specs):
        direction = getattr(metric, "higher_is_better", None)
        require(isinstance(direction, bool), component, "has no `higher_is_better` that is True or False")
        require(math.isnan(metric.compute()), component, "is not NaN before the first batch")
        targets = example_batch(spec).targets
        wrong = np.random.default_rng(1).standard_normal((len(targets), spec.outputs)).astype(np.float32)
        whole = _measured(component, metric, wrong, targets, [len(targets)])
        parts = _measured(component, metric, wrong, targets, [5, 6])
        require(math.isfinite(whole), component, f"is not finite on {spec.name}")
        require(math.isclose(whole, parts, rel_tol=1e-6), component, "depends on how samples are batched")
        right = targets
        if spec.is_classification:
            right = 10 * np.eye(spec.outputs, dtype=np.float32)[targets]
        best = _measured(component, metric, right, targets, [len(targets)])
        ordered = best >= whole if direction else best <= whole
        require(ordered, component, f"calls right answers ({best}) worse than random ones ({whole})")
        if spec.is_classification:
            _check_shares(component, metric, wrong, targets, whole)
            _check_probabilities(component, spec, wrong, targets, whole)
        _check_memory(component, spec, metric, wrong, targets)
        metric.reset()
        require(math.isnan(metric.compute()), component, "is not NaN after reset")


def _check_memory(component: Component, spec: DataSpec, metric: Any, outputs: Array, targets: Array) -> None:
    """What a metric has gathered goes to another one through a checkpoint, where it has a state at all."""
    has = [hasattr(metric, name) for name in ("state_dict", "load_state_dict")]
    require(has[0] == has[1], component, "has one of state_dict and load_state_dict; it needs both or neither")
    if not has[0]:
        return
    for half in (0, 7):
        other = build(component, spec=spec)
        other.update(outputs[7:], targets[7:])  # to be forgotten
        metric.reset()
        if half:
            metric.update(outputs[:half], targets[:half])
        try:
            kept = json.loads(json.dumps(packed(metric.state_dict())))
        except TypeError as error:
            require(False, component, f"has in its state_dict {error}")
        before = json.dumps(kept)
        other.load_state_dict(unpacked(kept))
        for each in (metric, other):
            each.update(outputs[half:], targets[half:])
        require(metric.compute() == other.compute(), component, "measures differently after its state was loaded")
        require(json.dumps(kept) == before, component, "changes a state that it has loaded")


def _check_shares(component: Component, metric: Any, outputs: Array, classes: Array, wanted: float) -> None:
    certain = np.eye(outputs.shape[1], dtype=np.float32)[classes]
    try:
        value = _measured(component, metric, outputs, certain, [len(certain)])
    except Exception:  # noqa: BLE001 - a metric for classes only may refuse by any error
        return
    same = math.isclose(value, wanted, rel_tol=1e-6)
    require(same, component, f"is {value} for shares that are all one class, but {wanted} for these classes")


def _check_probabilities(component: Component, spec: DataSpec, logits: Array, classes: Array, wanted: float) -> None:
    if not isinstance(spec.target, Classes):
        return
    outputs = spec.target.probabilities(logits).astype(np.float32)
    told = replace(spec, target=replace(spec.target, scores="probabilities"))
    try:
        metric = build(component, spec=told)
    except ConfigError:  # it says that it needs logits
        return
    value = _measured(component, metric, outputs, classes, [len(classes)])
    same = math.isclose(value, wanted, rel_tol=1e-4)
    require(same, component, f"is {value} for probabilities, but {wanted} for their logits; see spec.target.scores")


def _measured(component: Component, metric: Any, outputs: Array, targets: Array, cuts: list[int]) -> float:
    outputs, targets = outputs.copy(), targets.copy()
    outputs.setflags(write=False)
    targets.setflags(write=False)
    metric.reset()
    for o, t in zip(np.split(outputs, cuts), np.split(targets, cuts), strict=True):
        if len(o):
            metric.update(o, t)
    value = metric.compute()
    require(isinstance(value, float), component, f"computes {type(value).__name__}; expected float")
    require(value == metric.compute(), component, "changes when it is computed twice")
    return float(value)


def check_transform(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a transform: a pure function of batch and generator that keeps what model and loss rely on.

    It may turn targets that are classes [N] int64 into shares of classes [N, K] float32 that add up to 1, and must
    take shares that a transform before it has made.

    Args:
        component: the transform's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    check_options("transform", component)
    for spec, transform in each_fitting(component, specs):
        batches = [example_batch(spec, samples=samples) for samples in (16, 1)]
        if spec.is_classification:
            batches += [replace(b, targets=np.eye(spec.outputs, dtype=np.float32)[b.targets]) for b in batches]
        for batch in batches:
            _check_purity(component, transform, batch)
            out = transform(batch, np.random.default_rng(7))
            samples = len(batch.inputs)
            require(out.inputs.dtype == batch.inputs.dtype, component, f"changes the dtype of inputs on {spec.name}")
            require(len(out.inputs) == len(out.targets) == samples, component, "changes the number of samples")
            _check_augmented_targets(component, spec, batch.targets, out.targets)
            normal = spec.input.normalise(out.inputs)
            fits = normal.shape == (samples, *spec.input_shape)
            require(
                fits,
                component,
                f"makes inputs {normal.shape} of {spec.name}; expected {spec.input_shape} each",
            )
            require(bool(np.isfinite(normal).all()), component, f"makes inputs that are not finite on {spec.name}")


def _check_augmented_targets(component: Component, spec: DataSpec, before: Array, after: Array) -> None:
    same = after.dtype == before.dtype and after.shape == before.shape
    if not spec.is_classification:
        require(same, component, f"makes targets {after.dtype} {after.shape}; expected {before.dtype} {before.shape}")
        return
    if same and after.ndim == 1:
        within = bool((after >= 0).all() and (after < spec.outputs).all())
        require(within, component, f"makes a class that is not within 0..{spec.outputs - 1}")
        return
    shape = (len(before), spec.outputs)
    right = after.dtype == np.float32 and after.shape == shape
    expected = f"{before.dtype} {before.shape} as they were, or shares float32 {shape}"
    require(right, component, f"makes targets {after.dtype} {after.shape} on {spec.name}; expected {expected}")
    sums = after.sum(axis=1, dtype=np.float64)
    whole = bool((after >= 0).all() and np.allclose(sums, 1, rtol=0, atol=1e-5))
    require(whole, component, "makes shares of classes that are below 0 or do not add up to 1 in each row")


def _check_purity(component: Component, transform: Any, batch: Batch) -> None:
    inputs, targets = batch.inputs.copy(), batch.targets.copy()
    before = _global_random_state()
    generators = [np.random.default_rng(7) for _ in range(2)]
    first, second = (transform(batch, g) for g in generators)
    kept = np.array_equal(batch.inputs, inputs) and np.array_equal(batch.targets, targets)
    require(kept, component, "writes into the batch that it was given")
    equal = np.array_equal(first.inputs, second.inputs) and np.array_equal(first.targets, second.targets)
    require(equal, component, "gives another result for the same batch and generator")
    states = [str(g.bit_generator.state) for g in generators]
    require(states[0] == states[1], component, "draws from the generator differently for the same batch")
    require(before == _global_random_state(), component, "draws from NumPy's global generator")


def _global_random_state() -> str:
    state = np.random.get_state(legacy=False)
    return str({**state, "state": {k: np.asarray(v).tobytes() for k, v in state["state"].items()}})


def check_dataset(data: Data, *, samples: int = 64) -> None:
    """Check what a dataset returned: splits, spec, and that a batch is gathered and normalised as promised.

    Args:
        data: the answer of the dataset's function.
        samples: how many of each split to look at.

    Raises:
        ConformanceError: a promise is broken.
    """
    require(isinstance(data, Data), data, f"is a {type(data).__name__}; a dataset returns expkit.api.Data")
    spec = data.spec
    require(bool(spec.name and spec.source.kind and spec.source.location), data, "has no name or source")
    hexadecimal = re.fullmatch(r"[0-9a-f]{64}", spec.fingerprint) is not None
    require(hexadecimal, data, f"fingerprint {spec.fingerprint!r} is not a SHA-256 in hex")
    require(spec.outputs >= 1, data, "has no outputs")
    require(len(set(spec.labels)) == len(spec.labels), data, f"labels are not unique: {spec.labels}")
    for part in (spec.input, spec.target):
        described = part.describe()
        same = json.loads(json.dumps(described, allow_nan=False)) == described
        require(same, data, f"{type(part).__name__}.describe() gives values that JSON does not keep")
    for name in ("train", "valid", "test"):
        _check_split(data, name, getattr(data, name), samples)


def _check_split(data: Data, name: str, split: Split, samples: int) -> None:
    spec = data.spec
    require(len(split) > 0, data, f"split {name} is empty")
    indices = np.unique(np.linspace(0, len(split) - 1, num=min(samples, len(split)), dtype=np.int64))[::-1]
    inputs, targets = split.gather(indices)
    _check_targets(data, name, targets, len(indices))
    normal = spec.input.normalise(inputs)
    expected = (len(indices), *spec.input_shape)
    require(normal.shape == expected, data, f"split {name}: inputs are {normal.shape}; expected {expected}")
    require(
        str(normal.dtype) == spec.input_dtype,
        data,
        f"split {name}: inputs are {normal.dtype}; expected {spec.input_dtype}",
    )
    require(bool(np.isfinite(normal).all()), data, f"split {name}: an input is not finite")
    kept = inputs.copy(), targets.copy()
    inputs[...], targets[...] = 0, 0
    again = split.gather(indices)
    same = np.array_equal(again[0], kept[0]) and np.array_equal(again[1], kept[1])
    require(same, data, f"split {name}: gather must give the same samples each time, as copies")
    one = split.gather(indices[-1:])[0]
    require(
        np.array_equal(one[0], kept[0][-1]),
        data,
        f"split {name}: gather does not keep the order of the indices",
    )


def _check_targets(data: Data, name: str, targets: Array, count: int) -> None:
    spec = data.spec
    shape: tuple[int, ...] = (count,)
    dtype = "int64"
    if isinstance(spec.target, Values):
        shape, dtype = (count, spec.outputs), spec.target.precision
    right = targets.shape == shape and str(targets.dtype) == dtype
    require(right, data, f"split {name}: targets are {targets.dtype} {targets.shape}; expected {dtype} {shape}")
    if spec.is_classification:
        within = bool((targets >= 0).all() and (targets < spec.outputs).all())
        require(within, data, f"split {name}: a class is not within 0..{spec.outputs - 1}")
    else:
        require(bool(np.isfinite(targets).all()), data, f"split {name}: a target is not finite")


def check_callback(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a callback: it lives through a training, and goes on after a resume as if nothing had happened.

    Args:
        component: the callback's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    check_options("callback", component)
    epochs, done = 8, 4
    for spec, callback in each_fitting(component, specs):
        with tempfile.TemporaryDirectory() as folder:
            start = FitStart(spec, epochs, 2, 0, Path(folder), _example_directions(spec))
            callback.on_fit_start(start)
            _run_epochs(callback, spec, 1, done)
            state = callback.state_dict()
            kept = json.loads(json.dumps(state, allow_nan=False))
            require(kept == state, component, f"has a state that JSON does not keep: {state}")
            resumed = build(component, spec=spec)
            resumed.load_state_dict(kept)
            require(resumed.state_dict() == state, component, "has another state after it was saved and loaded")
            resumed.on_fit_start(replace(start, step=2 * done))
            stops = [_run_epochs(c, spec, done + 1, epochs) for c in (callback, resumed)]
            require(stops[0] == stops[1], component, "decides differently after a resume")
            require(callback.state_dict() == resumed.state_dict(), component, "remembers otherwise after a resume")
            for each in (callback, resumed):
                each.on_fit_end(FitEnd(status="finished", reason="", epoch=epochs, step=2 * epochs))


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
