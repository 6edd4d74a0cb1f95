"""The curves of many runs in one picture that can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expkit.comparison.curves import Line
from expkit.figures import drawn_text, figure_of, save, scale_by_logarithm

COLOURS = (
    *("#2272B4", "#D55E00", "#009E73", "#CC3E8B", "#8A63D2", "#B8860B"),
    *("#56B4E9", "#A6402B", "#4C9A2A", "#5B5B5B", "#E6A000", "#1F4E79"),
)
"""As in MLflow's pages: neighbours can be told apart."""
GREY = "#B8BEC6"
MANY = 12
"""Of more lines than there are colours, the first ten have one, and the others are grey."""
COLOURED = 10
MARKED = 30
"""Of more epochs, points would hide the lines."""
WIDE = 30.0
"""A loss whose largest value is so many times the smallest has a logarithmic axis."""
HIGHEST = 20.0
"""Losses of so many times the median of what runs begin with leave the picture: they would hide the others."""


def draw(file: Path, title: str, metrics: Sequence[str], lines: Sequence[Line]) -> None:
    """Draw the curves of groups of runs over epochs, a panel for each metric.

    Args:
        file: the PNG.
        title: above the picture.
        metrics: such as "train/loss"; one panel each.
        lines: of the groups, the best first.

    Raises:
        OSError: the file cannot be written.
    """
    figure, axes = figure_of(len(metrics), title, size=5.0)
    coloured = len(lines) if len(lines) <= MANY else COLOURED
    for axis, metric in zip(axes, metrics, strict=True):
        for number in reversed(range(len(lines))):  # the best on top
            if metric in lines[number].curves:
                _draw_line(axis, lines[number], metric, number if number < coloured else None)
        _finish(axis, metric, [line.curves[metric] for line in lines if metric in line.curves])
    _legend(figure, lines, coloured)
    save(figure, file)


def _draw_line(axis: Any, line: Line, metric: str, place: int | None) -> None:
    points = np.array(line.curves[metric], dtype=np.float64)
    x, mean, spread = points.T
    if place is None:
        axis.plot(x, mean, color=GREY, linewidth=0.8, alpha=0.7, zorder=1, marker="." if len(x) == 1 else "")
        return
    colour, marker = COLOURS[place % len(COLOURS)], "o" if len(x) <= MARKED else ""
    axis.plot(x, mean, color=colour, marker=marker, markersize=3.5, linewidth=1.6, zorder=3)
    if spread.any():
        low = mean - spread
        if metric.endswith("loss"):
            low = np.maximum(low, mean / 10)  # a band below zero would have no place on a logarithmic axis
        axis.fill_between(x, low, mean + spread, color=colour, alpha=0.15, linewidth=0, zorder=2)


def _finish(axis: Any, metric: str, curves: Sequence[Sequence[tuple[int, float, float]]]) -> None:
    values = np.array([value for curve in curves for _, value, _ in curve])
    if metric.endswith("loss") and values.size:
        top = HIGHEST * float(np.median([curve[0][1] for curve in curves]))
        kept = values[values <= top] if (values <= top).any() else values
        if kept.min() > 0 and kept.max() > WIDE * kept.min():
            scale_by_logarithm(axis)
        if kept.size < values.size:
            axis.set_ylim(top=top)
    axis.set(title=drawn_text(metric), xlabel="epoch" if "/" in metric else "step")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25, linewidth=0.6)


def _legend(figure: Any, lines: Sequence[Line], coloured: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[number % len(COLOURS)], linewidth=2.0, label=_label(line))
        for number, line in enumerate(lines[:coloured])
    ]
    if len(lines) > coloured:
        others = f"{len(lines) - coloured} others"
        handles.append(Line2D([], [], color=GREY, linewidth=1.0, label=others))
    longest = max(len(str(handle.get_label())) for handle in handles)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int(width / (0.095 * longest + 0.7))))
    figure.set_size_inches(width, height + 0.2 * (-(-len(handles) // columns) - 1))  # not at the cost of the panels
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _label(line: Line) -> str:
    return drawn_text(line.label, 60) + (f" (n={line.runs})" if line.runs > 1 else "")
