"""Says where the first number that is NaN or infinite came up in a step, and shows the step layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expkit.inspection.facts import LayerFacts, Look, Spread, spread
from expkit.inspection.words import aligned
from expkit.spec import Array

OUTPUT, GRADIENT = "output", "output gradient"
_SHOWN_SAMPLES = 5


@dataclass(frozen=True)
class Origin:
    """Where the first number came up that is not finite.

    Attributes:
        kind: "batch", "weight", "layer", "loss", "gradient", or "unknown" when all that could be looked at is finite.
        where: name of the layer or parameter; empty for the other kinds.
        text: one sentence without its full stop.
    """

    kind: str
    where: str
    text: str


@dataclass(frozen=True)
class Row:
    """The numbers of one tensor; of the finite ones, but for their count.

    Attributes:
        layer: its name; "(batch)" and "(loss)" for what is none.
        kind: of the layer.
        what: "output", "output gradient", or name of a parameter, perhaps with " gradient".
        smallest: NaN where no number is finite, as is `largest`.
        largest: the maximum.
        norm: square root of the sum of squares.
        not_finite: how many are NaN or infinite.
        first: whether this is where it began.
    """

    layer: str
    kind: str
    what: str
    smallest: float
    largest: float
    norm: float
    not_finite: int
    first: bool = False


def find_origin(look: Look | None, inputs: Array, targets: Array, weights: Mapping[str, Array]) -> Origin:
    """Find where the first number came up that is not finite.

    Args:
        look: at the step, with `output_gradients`; None of a learner that shows no layers.
        inputs: of the batch.
        targets: likewise.
        weights: before the step, by name.
    """
    found = _of_batch(inputs, targets) or _of_weights(look, weights)
    if found is None and look is not None:
        found = _of_forward(look) or _of_backward(look)
    return found or Origin("unknown", "", _unknown(look, weights))


def trouble_rows(
    look: Look | None, began: Origin, inputs: Array, targets: Array, weights: Mapping[str, Array]
) -> list[Row]:
    """Return the numbers of a step: batch, layers in the order of their calls with their parameters, loss.

    Gradients are left out where the loss is not finite: none of them can be.

    Args:
        look: as for `find_origin`.
        began: what it found.
        inputs: of the batch.
        targets: likewise.
        weights: before the step, by name.
    """
    batch = began.kind == "batch"
    found = [
        _row("(batch)", "", what, spread(values), first=batch and not np.isfinite(values).all())
        for what, values in (("inputs", inputs), ("targets", targets))
    ]
    if look is None:
        bad = began.where if began.kind == "weight" else None
        return found + [_row("", "", name, spread(values), first=name == bad) for name, values in weights.items()]
    for layer in look.layers:
        found += _layer_rows(look, layer, began)
    if began.kind == "gradient":
        found = _with_gradient_marked(found)
    loss = began.kind == "loss"
    return [*found, _row("(loss)", "", "value", spread(np.asarray(look.loss)), first=loss)]


def trouble_table(found: Sequence[Row]) -> str:
    """Return the rows as a table that marks where it began.

    Args:
        found: what `trouble_rows` gave.
    """
    lines: list[tuple[str, ...]] = [("layer", "type", "what", "min", "max", "norm", "not finite", "")]
    before = None
    for row in found:
        names = (row.layer or "(model)", row.kind) if (row.layer, row.kind) != before else ("", "")
        before = row.layer, row.kind
        numbers = [f"{number:.3g}" for number in (row.smallest, row.largest, row.norm)]
        count = f"{row.not_finite:,}" if row.not_finite else "-"
        lines.append((*names, row.what, *numbers, count, "<- the first" if row.first else ""))
    return aligned(lines, "<<<>>>><")


def _with_gradient_marked(found: Sequence[Row]) -> list[Row]:
    """Mark where gradients cease to be finite: of the last layer in which that is so, its output's, if that is one."""
    bad = [row for row in found if row.what.endswith("gradient") and row.not_finite]
    first = next((row for row in bad if row.layer == bad[-1].layer), None)
    return [replace(row, first=True) if row is first else row for row in found]


def _layer_rows(look: Look, layer: LayerFacts, began: Origin) -> Iterator[Row]:
    here = layer.name == began.where
    if look.broke is not None and look.broke.inside:
        here = layer is _first_bad(look)
    backward = math.isfinite(look.loss)
    if layer.output is not None:
        yield _row(layer.name, layer.kind, OUTPUT, layer.output, first=here and began.kind == "layer")
    if layer.gradient is not None and backward:
        yield _row(layer.name, layer.kind, GRADIENT, layer.gradient)
    for parameter in look.parameters:
        if parameter.layer != layer.name:
            continue
        short = parameter.name.rpartition(".")[2]
        named = parameter.name == began.where
        yield _row(layer.name, layer.kind, short, parameter.values, first=named and began.kind == "weight")
        if parameter.gradient is not None and backward:
            yield _row(layer.name, layer.kind, f"{short} gradient", parameter.gradient)


def _row(layer: str, kind: str, what: str, seen: Spread, *, first: bool = False) -> Row:
    return Row(layer, kind, what, seen.smallest, seen.largest, seen.norm, seen.not_finite, first)


def _of_batch(inputs: Array, targets: Array) -> Origin | None:
    parts = []
    for what, values in (("inputs", inputs), ("targets", targets)):
        bad = ~np.isfinite(values)
        if bad.any():
            samples = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
            listed = ", ".join(str(number) for number in samples[:_SHOWN_SAMPLES])
            more = f" and {len(samples) - _SHOWN_SAMPLES} more" if len(samples) > _SHOWN_SAMPLES else ""
            which = "sample" if len(samples) == 1 else "samples"
            parts.append(f"{int(bad.sum()):,} of its {values.size:,} {what} ({which} {listed}{more} of {len(values)})")
    if not parts:
        return None
    return Origin("batch", "", f"the batch itself holds NaN or infinity: {' and '.join(parts)}, counted from 0")


def _of_weights(look: Look | None, weights: Mapping[str, Array]) -> Origin | None:
    # What is fixed may be infinite on purpose, as the mask of an attention; what is trained may not.
    trained = weights if look is None else {p.name for p in look.parameters}
    for name, values in weights.items():
        count = int((~np.isfinite(values)).sum())
        if count and name in trained:
            text = (
                f"{count:,} of the {values.size:,} numbers of {name} are NaN or infinite before the forward run: an "
                "earlier update made them so, or the start"
            )
            return Origin("weight", name, text)
    return None


def _of_forward(look: Look) -> Origin | None:
    broke = look.broke
    if broke is None:
        if math.isfinite(look.loss):
            return None
        low, high = _ends(spread(look.outputs))
        text = (
            f"all layers answer finite numbers, the last ones from {low} to {high}; the loss makes {look.loss} of them"
        )
        return Origin("loss", "", text)
    name = f"{broke.layer} ({broke.kind})" if broke.layer else f"the model ({broke.kind})"
    given = "from finite inputs"
    if broke.given is not None:
        given = "from inputs between {} and {}".format(*_ends(broke.given))
    if broke.inside:
        text = f"NaN or infinity comes up in the code of {name} itself, between the layers in it"
        meets = _first_bad(look)
        text += f"; {meets.name} ({meets.kind}) is the first of them to answer it" if meets is not None else ""
    else:
        text = f"the first layer that answers NaN or infinity is {name}, {given}"
    return Origin("layer", broke.layer, text)


def _first_bad(look: Look) -> LayerFacts | None:
    return next((layer for layer in look.layers if layer.output is not None and layer.output.not_finite), None)


def _of_backward(look: Look) -> Origin | None:
    """Go from the loss to the first layer, and stop where gradients cease to be finite."""
    behind: LayerFacts | None = None
    for layer in reversed([layer for layer in look.layers if layer.calls]):
        if layer.gradient is not None and layer.gradient.not_finite:
            if behind is None:
                what = f"{layer.name or 'the model'} ({layer.kind})"
                text = f"the loss is finite, but its gradient at the output of {what} is NaN or infinite"
                return Origin("gradient", layer.name, text)
            what = f"{behind.name} ({behind.kind})"
            text = f"going backward, the gradient is finite at the output of {what}, and NaN or infinite before it"
            return Origin("gradient", behind.name, text)
        for parameter in look.parameters:
            if parameter.layer == layer.name and parameter.gradient is not None and parameter.gradient.not_finite:
                text = f"going backward, the first gradient that is NaN or infinite is that of {parameter.name}"
                return Origin("gradient", parameter.name, text)
        behind = layer
    bad = [p.name for p in look.parameters if p.gradient is not None and p.gradient.not_finite]
    return Origin("gradient", bad[-1], f"the gradient of {bad[-1]} is NaN or infinite") if bad else None


def _unknown(look: Look | None, weights: Mapping[str, Array]) -> str:
    if look is not None:
        return "run layer by layer, the step is finite: it is at the edge of what numbers can hold"
    largest = max((float(np.abs(values).max()) for values in weights.values() if values.size), default=0.0)
    return (
        f"batch and weights are finite, the weights up to {largest:.3g}; the learner shows no layers, in which one "
        "could see more"
    )


def _ends(seen: Spread) -> tuple[str, str]:
    return f"{seen.smallest:.3g}", f"{seen.largest:.3g}"
