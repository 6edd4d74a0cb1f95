"""Puts a look inside a model into words: tables, and remarks on what is odd."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expkit.inspection.facts import LayerFacts, Look, ParameterFacts, Spread


@dataclass(frozen=True)
class Remark:
    """Something odd in a model.

    Attributes:
        kind: "not finite", "alike", "dead", "no gradient", "zero gradient" or "unused".
        where: name of the layer or (first) parameter; "loss" for the loss.
        text: one sentence, which begins with it.
    """

    kind: str
    where: str
    text: str


def remarks(look: Look) -> tuple[Remark, ...]:
    """Return what is odd, the most serious first.

    Args:
        look: at the model.
    """
    found = [*_not_finite(look), *_alike(look), *_dead(look), *_gradients(look)]
    found += [
        Remark("unused", layer.name, f"{layer.name} was never called, but has {layer.parameters:,} parameters")
        for layer in look.layers
        if not layer.calls and layer.parameters
    ]
    return tuple(found)


def layer_table(look: Look) -> str:
    """Return a table of all layers: name, class, output shape, parameters, operations for one sample.

    Args:
        look: at the model.
    """
    rows = [("layer", "type", "output", "parameters", "FLOPs")]
    rows.append(("(input)", "", _shape(look.inputs, look.samples), "", ""))
    for layer in look.layers:
        kind = layer.kind if layer.calls < 2 else f"{layer.kind} x{layer.calls}"
        shapes = " ".join(_shape(shape, look.samples) for shape in layer.shapes) if layer.calls else "not called"
        flops = "-" if layer.operations is None else f"{layer.operations:,}"
        rows.append((layer.name or "(model)", kind, shapes, f"{layer.parameters:,}", flops))
    fixed = sum(layer.fixed for layer in look.layers)
    known = sum(layer.operations or 0 for layer in look.layers)
    guess = "at least " if any(layer.operations is None for layer in look.layers) else ""
    total = f"{sum(layer.parameters for layer in look.layers):,}"
    rows.append(("total", "", "", total, f"{guess}{known:,}"))
    notes = [f"N = {look.samples}. FLOPs are those of one sample; a multiplication and an addition are two."]
    if fixed:
        notes.append(f"Besides, {fixed:,} numbers are kept without being learned, such as running statistics.")
    return "\n".join([aligned(rows, "<<<>>", rule_above_last=True), *notes])


def statistics_table(look: Look) -> str:
    """Return a table of how outputs, parameters and gradients are spread, layer by layer.

    Args:
        look: at the model.
    """
    rows: list[tuple[str, ...]] = [("layer", "what", "mean", "std", "min", "max", "zeros", "")]
    for layer in look.layers:
        lines: list[tuple[str, ...]] = []
        if layer.output is not None:
            dead = f"{layer.dead} of {layer.units} units dead" if layer.dead else ""
            lines.append(_cells("output", layer.output, dead))
        for parameter in _parameters_of(look, layer):
            short = parameter.name.rpartition(".")[2]
            lines += [_cells(short, parameter.values), _cells(f"{short} gradient", parameter.gradient)]
        names = [layer.name or "(model)"] + [""] * len(lines)
        rows += [(name, *cells) for name, cells in zip(names, lines, strict=False)]
    return aligned(rows, "<<>>>>><")


def _parameters_of(look: Look, layer: LayerFacts) -> list[ParameterFacts]:
    """The parameters of a layer, with those of layers within it that have no line of their own."""
    named = {other.name for other in look.layers}
    inside = f"{layer.name}." if layer.name else ""
    return [
        parameter
        for parameter in look.parameters
        if parameter.layer == layer.name or (parameter.layer not in named and parameter.layer.startswith(inside))
    ]


def _not_finite(look: Look) -> Iterator[Remark]:
    if not math.isfinite(look.loss):
        yield Remark("not finite", "loss", f"loss is {look.loss}")
    values = [p.name for p in look.parameters if p.values.not_finite]
    if values:
        yield Remark("not finite", values[0], f"{_named(values)}: among the numbers are NaN or infinite ones")
    for layer in look.layers:
        if layer.output is not None and layer.output.not_finite:
            text = (
                f"{layer.name}: the first layer whose outputs are NaN or infinite, {layer.output.not_finite:,} of them"
            )
            yield Remark("not finite", layer.name, text)
            break
    gradients = [p.name for p in look.parameters if p.gradient is not None and p.gradient.not_finite]
    if gradients:
        yield Remark("not finite", gradients[0], f"{_named(gradients)}: the gradient is NaN or infinite")


def _alike(look: Look) -> Iterator[Remark]:
    names = [
        parameter.name
        for parameter in look.parameters
        if parameter.values.smallest == parameter.values.largest
        and len(parameter.shape) > 1
        and max(parameter.shape) > 1
    ]
    if names:
        yield Remark("alike", names[0], f"{_named(names)}: all numbers are the same, so that units are copies")


def _dead(look: Look) -> Iterator[Remark]:
    before = 0
    for layer in look.layers:
        if layer.dead and layer.dead != before:  # what follows a dead unit is dead with it
            text = f"{layer.name}: {layer.dead} of {layer.units} units are 0 for all {look.samples} samples"
            yield Remark("dead", layer.name, text)
        if layer.units:
            before = layer.dead
            if layer.dead == layer.units:  # nothing of the input goes on from here
                return


def _gradients(look: Look) -> Iterator[Remark]:
    none = [p.name for p in look.parameters if p.gradient is None]
    zero = [p.name for p in look.parameters if p.gradient and not p.gradient.norm and not p.gradient.not_finite]
    if none:
        yield Remark("no gradient", none[0], f"{_named(none)}: no gradient arrives, the loss ignores it")
    if zero:
        yield Remark("zero gradient", zero[0], f"{_named(zero)}: the gradient is exactly 0")


def _named(names: Sequence[str]) -> str:
    """Name a few of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _cells(what: str, spread: Spread | None, note: str = "") -> tuple[str, ...]:
    if spread is None:
        return (what, "none", "", "", "", "", note)
    if spread.not_finite:
        note = f"{spread.not_finite:,} not finite{', ' if note else ''}{note}"
    numbers = (spread.mean, spread.std, spread.smallest, spread.largest)
    return (what, *(f"{number:.3g}" for number in numbers), f"{spread.zeros:.1%}", note)


def _shape(shape: tuple[int, ...], samples: int) -> str:
    """Write a shape with N in the place of the number of samples."""
    batch = len(shape) > 0 and shape[0] == samples
    return f"[{', '.join(['N' if batch else str(shape[0]), *map(str, shape[1:])])}]" if shape else "[]"


def aligned(rows: Sequence[Sequence[str]], sides: str, *, rule_above_last: bool = False) -> str:
    """Set rows in columns, with a rule below the heading.

    Args:
        rows: the heading first.
        sides: "<" or ">" for each column.
        rule_above_last: whether the last row is a sum.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))]
    cells = [zip(row, sides, widths, strict=True) for row in rows]
    lines = ["  ".join(f"{text:{side}{width}}" for text, side, width in row).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    if rule_above_last:
        lines.insert(-1, rule)
    return "\n".join([lines[0], rule, *lines[1:]])
