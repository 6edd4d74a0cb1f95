"""What is odd about the model and its loss, before any training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from expkit.api import Array, Classes, DataSpec, Split
from expkit.findings import Finding, Section
from expkit.inspection import Look, layer_table, look_inside, remarks
from expkit.preparation import Prepared

SAMPLES = 64
MUCH_DEAD = 0.2
"""Share of a layer's units."""
SURE = 2.5
"""Times the loss of an undecided model, for classes."""
FAR_OFF = 20.0
"""The same, for values."""
FAR_APART = 1e4
"""Between the relative gradients of two layers."""

_ADVICE = {
    "not finite": "Inputs or initial weights are too large, or an operation has no answer, as the logarithm of 0.",
    "alike": "Initialise with random numbers, as Paddle's layers do by themselves.",
    "no gradient": "Use it in `forward`, or leave it out; what is frozen on purpose needs stop_gradient=True.",
    "zero gradient": "Something between it and the loss lets nothing through: a dead or constant layer, or `detach`.",
    "unused": "Use it in `forward`, or leave it out.",
    "dead": "A negative bias or a wide initialisation is the usual cause; LeakyReLU never dies.",
}


def spread_batch(split: Split, spec: DataSpec, samples: int) -> tuple[Array, Array]:
    """Return normalised inputs [N, *shape] and targets of samples spread evenly over a split.

    Args:
        split: which may be in the order of its classes.
        spec: of the data.
        samples: N, or as many as there are.
    """
    chosen = np.unique(np.linspace(0, len(split) - 1, samples).astype(np.int64))
    raw, targets = split.gather(chosen)
    return spec.input.normalise(raw), targets


def model_section(prepared: Prepared) -> Section:
    """Look inside the untrained model on one batch.

    Args:
        prepared: the experiment.
    """
    spec, learner = prepared.data.spec, prepared.learner
    inputs, targets = spread_batch(prepared.data.train, spec, SAMPLES)
    model, loss = getattr(learner, "model", None), getattr(learner, "loss", None)
    if model is None or loss is None:
        facts = ", ".join(f"{count:,.0f} {what}" for what, count in learner.summary().items())
        text = f"{type(learner).__name__} shows no layers (it has no `model` and `loss`); {facts}"
        first = learner.eval_step(inputs, targets).loss
        return Section("model", text, [_plain_loss(first, targets, spec)])
    look = look_inside(model, loss, inputs, targets)
    findings = [
        *_odd(look),
        *_outputs(look),
        _first_loss(look, loss, targets, spec),
        *_gradients(look),
    ]
    return Section("model", layer_table(look), findings)


def _odd(look: Look) -> Iterator[Finding]:
    layers = {layer.name: layer for layer in look.layers}
    all_still = all(p.gradient is None or p.gradient.norm == 0 for p in look.parameters)
    for remark in remarks(look):
        fatal = remark.kind == "not finite" or (remark.kind in ("zero gradient", "no gradient") and all_still)
        advice = _ADVICE[remark.kind]
        if remark.kind == "dead":
            layer = layers[remark.where]
            share = layer.dead / layer.units
            fatal = share == 1
            if share < MUCH_DEAD:
                yield Finding("note", "layers", remark.text)
                continue
        yield Finding("FAIL" if fatal else "warning", "layers", remark.text, advice)


def _outputs(look: Look) -> Iterator[Finding]:
    if len(look.outputs) > 1 and np.ptp(look.outputs, axis=0).max() == 0:
        text = "the model answers the same to every sample"
        yield Finding("warning", "outputs", text, "Nothing of the input reaches the output; see the layers.")


def _first_loss(look: Look, loss: Any, targets: Array, spec: DataSpec) -> Finding:
    import paddle

    undecided, name = _undecided(targets, spec)
    with paddle.no_grad():
        chance = float(loss(paddle.to_tensor(undecided), paddle.to_tensor(targets)))
    text = f"{look.loss:.3g} on {look.samples} samples; {name} has {chance:.3g}"
    return _judged_loss(look.loss, chance, SURE if spec.is_classification else FAR_OFF, text)


def _plain_loss(first: float, targets: Array, spec: DataSpec) -> Finding:
    if spec.is_classification:
        return Finding("note", "first loss", f"{first:.3g} on {len(targets)} samples")
    variance = float(targets.var(axis=0).mean())
    text = f"{first:.3g} on {len(targets)} samples; the variance of the targets is {variance:.3g}"
    return Finding("note", "first loss", text)


def _undecided(targets: Array, spec: DataSpec) -> tuple[Array, str]:
    """Return outputs [N, K] of a model that knows nothing of the inputs, and a name for it."""
    shape = (len(targets), spec.outputs)
    if isinstance(spec.target, Classes) and spec.outputs > 1:
        even = {"probabilities": 1 / spec.outputs, "log_probabilities": -math.log(spec.outputs)}
        name = f"a model that gives all {spec.outputs} classes the same chance"
        return np.full(shape, even.get(spec.target.scores, 0.0), np.float32), name
    means = np.asarray(targets, np.float64).reshape(len(targets), -1).mean(axis=0)
    return np.broadcast_to(means, shape).astype(spec.input_dtype), "a model that always answers the mean"


def _judged_loss(first: float, chance: float, most: float, text: str) -> Finding:
    if not math.isfinite(first):
        return Finding("FAIL", "first loss", text, "See the layers above for where it begins.")
    if chance > 0 and first > most * chance:
        advice = (
            "The untrained model is sure of what it cannot know: normalise the data, or begin with smaller weights."
        )
        return Finding("warning", "first loss", text, advice)
    if chance > 0 and first < chance / 2:
        advice = "Better than chance before any training: does an input hold the answer?"
        return Finding("warning", "first loss", text, advice)
    return Finding("ok", "first loss", text)


def _gradients(look: Look) -> Iterator[Finding]:
    norms = [p.gradient for p in look.parameters]
    if not all(g is not None and not g.not_finite for g in norms):
        return  # it is said above
    weights = {
        p.name: p.gradient.norm / p.values.norm
        for p in look.parameters
        if len(p.shape) > 1 and p.gradient is not None and p.values.norm and p.gradient.norm
    }
    if not weights:
        return
    least, most = min(weights, key=weights.__getitem__), max(weights, key=weights.__getitem__)
    span = f"from {weights[least]:.2g} ({least}) to {weights[most]:.2g} ({most})"
    span = f"{weights[most]:.2g} ({most})" if most == least else span
    text = f"each of {len(norms)} parameters gets a finite one; relative to the weights {span}"
    if weights[most] > FAR_APART * weights[least]:
        advice = f"They vanish on the way to {least}: normalisation layers, other activations or fewer layers help."
        yield Finding("warning", "gradients", text, advice)
    else:
        yield Finding("ok", "gradients", text)
