"""Whether the experiment learns: one batch by heart, in seconds."""

from __future__ import annotations

import functools
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expkit import seeding
from expkit.api import Array, Learner
from expkit.checkup.model import spread_batch
from expkit.component import Component
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, TrainingStoppedError
from expkit.export import Exporter
from expkit.findings import Finding, Section
from expkit.inspection import look_inside
from expkit.parts import ConfiguredParts, rate_of, rated
from expkit.preparation import Prepared

SAMPLES = 16
STEPS = 300
SECONDS = 10.0
LEARNED = 0.05
"""Share of the first loss at which a batch counts as learned by heart."""
HARDLY = 0.8
"""Share of the first loss above which nothing was learned."""
FACTORS = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)
"""Rates that are tried where the chosen one does not learn, relative to it."""
MOST_DEAD = 0.5
"""Share of a layer's units."""


@dataclass(frozen=True)
class Memorised:
    """How learning one batch by heart went.

    Attributes:
        first: loss before the first step, in evaluation mode.
        last: loss in the end, the better one of training and evaluation mode; NaN when training broke down.
        steps: how many were made.
        right: share of samples with the right class in the end; None for values.
        moved: how far the first step moved each weight, relative to its norm; only of those that have one.
    """

    first: float
    last: float
    steps: int
    right: float | None
    moved: Mapping[str, float]

    @property
    def is_learned(self) -> bool:
        """Whether the batch is known by heart."""
        return self.last <= 2 * LEARNED * self.first or self.right == 1.0

    def __str__(self) -> str:
        right = "" if self.right is None else f", {self.right:.0%} right"
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"loss {self.first:.3g} -> {self.last:.3g}{right}, after {steps}"


def learning_section(config: ExperimentConfig, prepared: Prepared, suspects: bool) -> Section:
    """Build the learner anew and let it learn one batch by heart, at a constant rate and without augmentation.

    Args:
        config: the experiment.
        prepared: its parts.
        suspects: whether the model itself looks as if it could not learn.
    """
    quick = _plain(config)
    inputs, targets = spread_batch(prepared.data.train, prepared.data.spec, SAMPLES)
    learner = _build(quick, prepared)
    findings = [_same(learner, _build(quick, prepared), inputs, targets)]
    dead = _dead_shares(learner, prepared)
    classes = prepared.data.spec.is_classification
    result = memorise(learner, inputs, targets, config.seed, STEPS, SECONDS, classes=classes)
    findings += _first_step(result, quick if learner.learning_rate else None, suspects)
    findings.append(_verdict(result, quick, prepared, inputs, targets, suspects))
    if math.isfinite(result.last):
        findings += _died(dead, _dead_shares(learner, prepared))
    if config.export.enabled:
        findings.extend(_export(config, prepared))
    return Section("learning", f"one batch of {len(inputs)} samples, by heart", findings)


def memorise(
    learner: Learner, inputs: Array, targets: Array, seed: int, steps: int, seconds: float, *, classes: bool
) -> Memorised:
    """Train on one batch until it is known by heart, or the steps or seconds are over; for one step at least.

    Args:
        learner: is changed.
        inputs: [N, *shape].
        targets: [N] or [N, K].
        seed: of dropout and the like.
        steps: at most.
        seconds: at most.
        classes: whether targets are classes.
    """
    seeding.seed_everything(seed)
    before = {name: values.copy() for name, values in learner.state_dict().model.items()}
    losses: list[float] = []
    moved: Mapping[str, float] = {}
    first = math.nan
    started = time.monotonic()
    try:
        first = learner.eval_step(inputs, targets).loss
        while not losses or (len(losses) < steps and time.monotonic() - started < seconds):
            losses.append(learner.train_step(inputs, targets).loss)
            if len(losses) == 1:
                moved = _moved(before, learner.state_dict().model)
            if not math.isfinite(losses[-1]) or losses[-1] < LEARNED * first / 2:
                break
        end = learner.eval_step(inputs, targets)
    except TrainingStoppedError:  # a learner that notices by itself
        return Memorised(first, math.nan, len(losses), None, moved)
    right = None
    if classes and end.outputs.shape[1] > 1:
        right = float((end.outputs.argmax(axis=1) == targets).mean())
    last = min(end.loss, losses[-1]) if math.isfinite(losses[-1]) else math.nan
    return Memorised(first, last, len(losses), right, moved)


def _plain(config: ExperimentConfig) -> ExperimentConfig:
    """Take away what would hinder learning by heart: a rate that falls soon, and the time that tracing takes."""
    return replace(config, schedule=None, trainer=replace(config.trainer, to_static=False))


def _build(config: ExperimentConfig, prepared: Prepared) -> Learner:
    steps = len(prepared.batches["train"])
    parts = ConfiguredParts(config, prepared.data.spec, steps_per_epoch=steps, device=prepared.device)
    seeding.seed_everything(config.seed)
    learner: Learner = config.learner.build(parts=parts)
    return learner


def _same(one: Learner, other: Learner, inputs: Array, targets: Array) -> Finding:
    first, second = one.state_dict().model, other.state_dict().model
    differ = [name for name in first if not np.array_equal(first[name], second[name], equal_nan=True)]
    if differ:
        text = f"built twice from one seed, {differ[0]} is different each time"
        advice = "Draw initial weights from Paddle's, NumPy's or Python's global generator, which the seed sets."
        return Finding("warning", "repeatable", text, advice)
    loss, again = (each.eval_step(inputs, targets).loss for each in (one, other))
    if loss != again and not math.isnan(loss):
        text = f"the same weights give another loss each time: {loss:.9g}, {again:.9g}"
        return Finding("warning", "repeatable", text, "The model or the loss draws random numbers in evaluation too.")
    return Finding("ok", "repeatable", "built twice from one seed, weights and loss are the same bit by bit")


def _moved(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, float]:
    moved = {}
    for name, old in before.items():
        norm = float(np.linalg.norm(old))
        if old.ndim > 1 and norm > 0:
            moved[name] = float(np.linalg.norm(after[name] - old)) / norm
    return moved


def _first_step(result: Memorised, config: ExperimentConfig | None, suspects: bool) -> Iterator[Finding]:
    """Say how far the first step went; without a config it had no rate, and may go as far as it likes."""
    if not result.moved:
        if not result.steps:
            text = "cannot be made: the loss or a gradient is NaN or infinite"
            yield Finding("FAIL", "first step", text, "See the model above.")
        return
    moving = {name: by for name, by in result.moved.items() if by} or result.moved
    most, least = max(moving, key=moving.__getitem__), min(moving, key=moving.__getitem__)
    text = f"moves weights by {moving[least]:.2g} ({least}) to {moving[most]:.2g} ({most}) of their norm"
    if len(moving) == 1:
        text = f"moves {most} by {moving[most]:.2g} of its norm"
    component = None if config is None else rated(config)
    key = f"{component.kind}.learning_rate={rate_of(component):g}" if component else "the learning rate"
    if not all(map(math.isfinite, moving.values())):
        yield Finding("FAIL", "first step", "makes weights NaN or infinite", "See the model above.")
    elif moving[most] == 0:
        yield Finding(
            "FAIL", "first step", "moves no weight", "See the model above." if suspects else f"Is {key} meant so?"
        )
    elif moving[most] > 1 and config is not None:
        yield Finding(
            "warning", "first step", text, f"That is more than the weights themselves: {key} may be too large."
        )
    else:
        yield Finding("ok", "first step", text)


def _verdict(
    result: Memorised,
    config: ExperimentConfig,
    prepared: Prepared,
    inputs: Array,
    targets: Array,
    suspects: bool,
) -> Finding:
    if result.is_learned:
        return Finding("ok", "by heart", str(result))
    hardly = not result.last <= HARDLY * result.first
    advice = _better_rate(result, config, prepared, inputs, targets)
    if not advice and suspects:
        advice = "What is said of the model above is the likely cause."
    elif not advice:
        tried = "Other rates do no better. " if rated(config) else ""
        advice = f"{tried}A larger model, a weaker regularizer or less dropout may help."
    what = "cannot even learn these" if hardly else "learns them slowly, or not wholly"
    return Finding("FAIL" if hardly else "warning", "by heart", f"{what}: {result}", advice)


def _better_rate(result: Memorised, config: ExperimentConfig, prepared: Prepared, inputs: Array, targets: Array) -> str:
    """Try smaller and larger rates; say which of them learns, if one does."""
    component = rated(config)
    if component is None:
        return ""
    base = rate_of(component) or 0.001
    classes = prepared.data.spec.is_classification
    good: dict[float, Memorised] = {}
    for rate in (base * factor for factor in FACTORS):
        try:
            learner = _build(_with_rate(config, component, rate), prepared)
        except ConfigError:  # a rate that is out of range here
            continue
        tried = memorise(learner, inputs, targets, config.seed, STEPS, SECONDS / len(FACTORS), classes=classes)
        if tried.last < tried.first / 2 and not tried.last >= result.last / 2:
            good[rate] = tried
    if not good:
        return ""
    best = min(good, key=lambda rate: (not good[rate].is_learned, good[rate].steps, good[rate].last))
    return f"{component.kind}.learning_rate={best:g} does better: {good[best]}."


def _with_rate(config: ExperimentConfig, component: Component, rate: float) -> ExperimentConfig:
    factory = component.factory
    changed = replace(
        component,
        options={**component.options, "learning_rate": rate},
        factory=lambda: functools.partial(factory(), learning_rate=rate),
    )
    return replace(config, learner=changed) if component.kind == "learner" else replace(config, optimizer=changed)


def _dead_shares(learner: Learner, prepared: Prepared) -> dict[str, float]:
    """Return the share of dead units of each layer; nothing of a learner that shows no model."""
    model, loss = getattr(learner, "model", None), getattr(learner, "loss", None)
    if model is None or loss is None:
        return {}
    look = look_inside(model, loss, *spread_batch(prepared.data.train, prepared.data.spec, 4 * SAMPLES))
    return {layer.name: layer.dead / layer.units for layer in look.layers if layer.units}


def _died(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[Finding]:
    for layer, share in after.items():
        if share > MOST_DEAD and share > 2 * before.get(layer, 0.0):
            text = (
                f"after these steps {share:.0%} of the units of {layer} are dead, {before.get(layer, 0.0):.0%} before"
            )
            yield Finding("warning", "afterwards", text, "Steps are too large for it: a smaller rate, or LeakyReLU.")
            return


def _export(config: ExperimentConfig, prepared: Prepared) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder, Exporter(config.export) as exporter:
        exported = exporter.export(prepared.learner, prepared.data, Path(folder) / "export", {})
    for name, certificate in exported.certificates.items():
        yield Finding("ok", "export", f"works as {name}; {certificate}")
    for error in exported.refused.values():
        yield Finding("FAIL", "export", str(error))
