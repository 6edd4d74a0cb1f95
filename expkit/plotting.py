"""The pictures of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, Batch, DataSpec, Split
from expkit.figures import drawn_text, empty_figure, figure_of, save, scale_by_logarithm
from expkit.preprocess import Classes, ImageInput

TRAIN, VALID, INK = "#2563eb", "#ea580c", "#334155"
MANY_STEPS = 2000
MEANS = 200
"""Points of a curve among others: each is a mean of steps, for noise would hide the others."""
MOST_CURVES = 20
LARGEST = 16.0
"""Inches; more classes get smaller squares."""


def draw_curves(folder: Path, title: str, steps: Sequence[float], epochs: Sequence[Mapping[str, float]]) -> None:
    """Draw `curves.png`: the loss, and each metric, of train and valid over epochs.

    Args:
        folder: where to.
        title: above the picture.
        steps: loss of each step.
        epochs: metrics of each epoch.
    """
    names = [n.removeprefix("valid/") for n in epochs[0] if n.startswith("valid/")]
    figure, axes = figure_of(len(names), title)
    marker = "o-" if len(epochs) <= 30 else "-"  # more of them would hide the steps
    for name, axis in zip(names, axes, strict=True):
        if name == "loss" and len(steps) > len(epochs):
            where = np.linspace(0, len(epochs), len(steps) + 1)[1:]
            alpha = 0.5 if len(steps) <= MANY_STEPS else 0.2
            axis.plot(where, steps, color=TRAIN, alpha=alpha, linewidth=0.8, label="train, each step")
        x = [e["epoch"] for e in epochs]
        train, valid = ([e[f"{split}/{name}"] for e in epochs] for split in ("train", "valid"))
        axis.plot(x, train, marker, color=TRAIN, markersize=4, label="train")
        axis.plot(x, valid, marker, color=VALID, markersize=4, label="valid")
        if min(train + valid) > 0 and max(train + valid) > 30 * min(train + valid):
            scale_by_logarithm(axis)  # else all but the first epochs would lie on the axis
        elif name == "loss" and len(steps) > MANY_STEPS:
            # The first few steps, many times as high, would press everything else flat.
            top = max(1.1 * max(train + valid), float(np.nanpercentile(steps, 99.5)))
            axis.set_ylim(min(0.0, *steps), top)
        axis.set_xlabel("epoch")
        axis.set_title(drawn_text(name))
        axis.set_xlim(0, 1.03 * x[-1])
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False)
    save(figure, folder / "curves.png")


@dataclass(frozen=True)
class Curve:
    """The losses of one run.

    Attributes:
        label: what tells it from the others.
        steps: (step, training loss).
        epochs: (epoch, validation loss).
    """

    label: str
    steps: Sequence[tuple[int, float]]
    epochs: Sequence[tuple[int, float]]


def draw_losses(file: Path, title: str, curves: Sequence[Curve]) -> None:
    """Draw the losses of several runs in one picture: training by steps, validation by epochs.

    Args:
        file: the PNG.
        title: above the picture.
        curves: of the runs; of more than `MOST_CURVES` the first are drawn.
    """
    figure, (left, right) = figure_of(2, title, size=6.0)
    most = _most_loss(curves[:MOST_CURVES])
    for number, curve in enumerate(curves[:MOST_CURVES]):
        style: dict[str, Any] = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"}
        losses = _up_to(np.array(curve.steps, dtype=np.float64), most)
        pieces = np.array_split(losses, min(MEANS, len(losses)))
        left.plot(*np.array([piece.mean(axis=0) for piece in pieces]).T, label=drawn_text(curve.label, 60), **style)
        epochs = _up_to(np.array(curve.epochs, dtype=np.float64).reshape(-1, 2), most)
        right.plot(*epochs.T, marker="o", markersize=4, **style)
    steps = max(len(curve.steps) for curve in curves)
    left.set(title="training loss" if steps <= MEANS else f"training loss, means of {steps / MEANS:.0f} steps")
    left.set(xlabel="step")
    right.set(title="validation loss", xlabel="epoch")
    for axis in (left, right):
        scale_by_logarithm(axis)
    right.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, file)


def draw_confusion(folder: Path, title: str, spec: DataSpec, outputs: Array, targets: Array) -> None:
    """Draw `confusion.png`: how often each class (row) was taken for each other (column).

    Args:
        folder: where to.
        title: above the picture.
        spec: for the labels.
        outputs: [N, K].
        targets: [N] int64.
    """
    matrix = np.zeros((spec.outputs, spec.outputs), dtype=np.int64)
    np.add.at(matrix, (targets.astype(np.int64), outputs.argmax(axis=1)), 1)
    draw_matrix(folder / "confusion.png", title, spec.labels, matrix)


def draw_matrix(file: Path, title: str, names: Sequence[str], matrix: Array) -> None:
    """Draw how often each class (row) was taken for each other (column).

    Args:
        file: the PNG.
        title: above the picture.
        names: of the classes.
        matrix: how often, [true, predicted] int64.
    """
    count = len(names)
    labels = [drawn_text(label, 20) for label in names]
    longest = max(map(len, labels))
    room = min(max(4.5, 0.5 * count + 1), LARGEST) + 0.1 * longest
    figure, (axis,) = figure_of(1, title, size=room)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, count, -(-count // 50))  # more than 50 labels would overlap
    shown = [labels[tick] for tick in ticks]
    axis.set_xticks(ticks, shown, rotation=0 if longest < 4 and count <= 30 else 90)
    axis.set_yticks(ticks, shown)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    if count <= 30:
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                shade = "white" if shares[row, column] > 0.5 else INK
                axis.text(column, row, f"{number}", ha="center", va="center", color=shade, fontsize=8)
    save(figure, file)


def draw_mistakes(
    folder: Path, title: str, spec: DataSpec, split: Split, outputs: Array, targets: Array, most: int
) -> int:
    """Draw `mistakes.png`: the samples that the model is most sure and most wrong about.

    Args:
        folder: where to.
        title: above the picture.
        spec: for the labels.
        split: the samples.
        outputs: [N, K] of all samples of the split.
        targets: [N] int64.
        most: how many to show.

    Returns:
        Number of mistakes in all; nothing is drawn when there is none.
    """
    if not isinstance(spec.target, Classes):
        return 0
    probabilities = spec.target.probabilities(outputs)
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    if len(wrong) == 0 or not isinstance(spec.input, ImageInput):
        return len(wrong)
    worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    images, _ = split.gather(worst)
    columns = min(5, len(worst))
    rows = -(-len(worst) // columns)
    figure = empty_figure((1.7 * columns, 2.0 * rows + 0.6))
    figure.suptitle(f"{drawn_text(title)}\n{len(wrong):,} mistakes of {len(targets):,}; the surest first", fontsize=9)
    for place, (image, index) in enumerate(zip(images, worst, strict=True)):
        axis = figure.add_subplot(rows, columns, place + 1)
        axis.imshow(image, cmap="gray")
        axis.set_axis_off()
        guess = predicted[index]
        true, said = (drawn_text(spec.labels[int(number)], 14) for number in (targets[index], guess))
        axis.set_title(f"true {true}\nsaid {said} ({probabilities[index, guess]:.0%})", fontsize=8)
    save(figure, folder / "mistakes.png")
    return len(wrong)


def draw_augmented(folder: Path, title: str, spec: DataSpec, before: Batch, after: Batch, most: int) -> None:
    """Draw `augmented.png`: samples, and below each what the transforms made of it. Nothing is drawn of a table.

    Args:
        folder: where to.
        title: above the picture.
        spec: for the size of images and for the labels.
        before: raw images [N, H, W] or [N, H, W, C] uint8, with their targets.
        after: the same samples after the transforms; targets may have become shares of classes [N, K].
        most: how many samples to show.
    """
    if not isinstance(spec.input, ImageInput):
        return
    count, (channels, *shape) = min(most, len(before.inputs)), spec.input_shape
    scale = min(1.1 / min(shape), 9 / max(shape))  # from here on, lengths are in inches
    high, wide = shape[0] * scale, shape[1] * scale
    head, gap = 0.3, 0.15  # a head has room for two lines
    cell = max(wide, 1.1) + gap
    columns = min(count, max(1, int(10 / cell)))
    pair = 2 * (head + high) + gap
    width, height = columns * cell, -(-count // columns) * pair
    figure = empty_figure((max(width + 0.2, 4.5), height + 0.6))  # the title needs its room, too
    figure.suptitle(f"{drawn_text(title)}\nabove as they are, below augmented", fontsize=9)
    axis = figure.add_subplot()
    for number in range(count):
        middle, top = (number % columns + 0.5) * cell, number // columns * pair + head
        for batch in (before, after):
            place = (middle - wide / 2, middle + wide / 2, top + high, top)
            image = batch.inputs[number].reshape(*shape, *[channels][channels == 1 :])
            axis.imshow(image, "gray", vmin=0, vmax=255, extent=place, interpolation="nearest")
            said = _target(spec, batch.targets[number])
            axis.text(middle, top - 0.03, said, ha="center", va="bottom", color=INK, fontsize=7)
            top += head + high
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.set_axis_off()
    save(figure, folder / "augmented.png")


def _target(spec: DataSpec, target: Array) -> str:
    """Say what a sample is, in two short lines at most: "7", of shares "3 62% + 7 38%", of values "24.1"."""
    if not spec.is_classification:
        said = ", ".join(f"{value:.4g}" for value in spec.target.decode(target[None])[0]["values"].values())
    elif target.ndim == 0 or target.max() > 0.995:
        said = drawn_text(spec.labels[int(target.argmax() if target.ndim else target)], 36)
    else:
        shown = [index for index in np.argsort(-target, kind="stable") if target[index] >= 0.005]
        parts = [f"{drawn_text(spec.labels[index], 12)} {target[index]:.0%}" for index in shown]
        said = " + ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)  # no new line within a part
    return textwrap.fill(said, 18, max_lines=2, placeholder=" …")


def draw_values(folder: Path, title: str, spec: DataSpec, outputs: Array, targets: Array) -> None:
    """Draw `predictions.png`: predicted against true values, in their own units.

    Args:
        folder: where to.
        title: above the picture.
        spec: for names and units.
        outputs: [N, K], normalised.
        targets: [N, K], normalised.
    """
    predicted, true = spec.target.decode(outputs), spec.target.decode(targets)
    names = list(true[0]["values"])
    figure, axes = figure_of(len(names), title)
    for name, axis in zip(names, axes, strict=True):
        x = [answer["values"][name] for answer in true]
        y = [answer["values"][name] for answer in predicted]
        low, high = min(x + y), max(x + y)
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8)
        axis.scatter(x, y, s=10, color=TRAIN, alpha=0.6)
        axis.set_aspect("equal", adjustable="datalim")
        unit = f" ({true[0]['unit']})" if true[0]["unit"] else ""
        axis.set_xlabel(drawn_text(f"true {name}{unit}"))
        axis.set_ylabel("predicted")
    save(figure, folder / "predictions.png")


def _most_loss(curves: Sequence[Curve]) -> float:
    """Return what losses to show: a run that diverges leaves the picture, for the others are what is compared."""
    with np.errstate(over="ignore"):
        starts = [np.mean([loss for _, loss in curve.steps[:10]]) for curve in curves]
    lowest = min((start for start in starts if np.isfinite(start)), default=1.0)
    return 100 * float(lowest)


def _up_to(points: Array, most: float) -> Array:
    """Leave out the losses [N, 2] above `most`, and infinite ones, which would set the axis."""
    points[~(points[:, 1] <= most), 1] = np.nan
    return points
