"""The loss on a grid of values of two weights: how it is measured, and how it is drawn."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, Learner, LearnerState, did_you_mean
from expkit_callbacks._figures import INK, figure, plain, save

FEWEST = 9
"""Points along an axis, however slow a model is."""
PATH = "#ea580c"
Place = tuple[str, tuple[int, ...]]
"""Name of an array, and an index in it."""


def find_weight(option: str, name: str, model: Mapping[str, Array], columns: Sequence[str]) -> Place:
    """Find a single weight in the state of a model.

    Args:
        option: for the message.
        name: such as "head.weight[3,0]", or a short one: "w5", or a table's column.
        model: arrays by name.
        columns: of the table that the model learns from.

    Raises:
        ConfigError: there is no such weight.
    """
    short = _short_names(model, columns)
    if name in short:
        return short[name]
    array_name, _, inside = name.partition("[")
    array = model.get(array_name)
    if array is not None and re.fullmatch(r"(\s*\d+\s*,)*\s*\d+\s*\]|", inside):
        numbers = [int(number) for number in re.findall(r"\d+", inside)]
        # A number that can only be 0 need not be said.
        numbers += [0 for size in array.shape[len(numbers) :] if size == 1]
        if len(numbers) == array.ndim and all(n < size for n, size in zip(numbers, array.shape, strict=True)):
            return array_name, tuple(numbers)
    hint = did_you_mean(array_name, [*model, *short]) if array is None else ""
    arrays = ", ".join(f"{known} {list(values.shape)}" for known, values in model.items())
    shorter = f" Short names: {', '.join(short)}." if short else ""
    raise ConfigError(
        f"{option}={name!r} names no single weight.{hint} The model has {arrays}; one number of the first is "
        f"{_example(model)!r}.{shorter}"
    )


def _short_names(model: Mapping[str, Array], columns: Sequence[str]) -> dict[str, Place]:
    """Return "w0", ... and the columns for the rows of the one matrix, where it is one and has one output."""
    matrices = [name for name, array in model.items() if array.ndim == 2]
    if len(matrices) != 1 or model[matrices[0]].shape[1] != 1:
        return {}
    rows = {f"w{row}": (matrices[0], (row, 0)) for row in range(len(model[matrices[0]]))}
    named = dict(zip(columns, rows.values(), strict=True)) if len(columns) == len(rows) else {}
    return {**rows, **named}


def _example(model: Mapping[str, Array]) -> str:
    name, array = next(iter(model.items()))
    return f"{name}[{','.join('0' * array.ndim)}]" if array.ndim else name


def measure_surface(
    learner: Learner, inputs: Array, targets: Array, places: Sequence[Place], axis: Array, *, seconds: float
) -> tuple[Array, Array]:
    """Measure the loss on a grid of values of two weights; the learner is left with the weights that it had.

    Args:
        learner: holds the values of all other weights.
        inputs: normalised [N, *shape].
        targets: [N] or [N, K].
        places: of the weights x and y.
        axis: values [P] of both.
        seconds: about how long it may take; the axis gets fewer points where it would take longer.

    Returns:
        The values [P] that were taken, and losses [P, P] by (y, x).
    """
    kept = learner.state_dict()
    model = {name: array.copy() for name, array in kept.model.items()}
    (x_array, x_index), (y_array, y_index) = places

    def loss(x: float, y: float) -> float:
        model[x_array][x_index], model[y_array][y_index] = x, y
        learner.load_state_dict(LearnerState(model, {}))
        return learner.eval_step(inputs, targets).loss

    try:
        loss(axis[0], axis[0])  # the first one may have to warm up
        started = time.perf_counter()
        loss(axis[-1], axis[-1])
        affordable = int((seconds / (time.perf_counter() - started)) ** 0.5)
        if affordable < len(axis):
            axis = np.linspace(axis[0], axis[-1], max(affordable, FEWEST))
        return axis, np.array([[loss(x, y) for x in axis] for y in axis])
    finally:
        learner.load_state_dict(kept)  # whole: a learner may measure averages, which a model alone starts anew


def draw_surface(file: Path, title: str, labels: Sequence[str], values: Array, losses: Array, path: Array) -> None:
    """Draw the surface in space, and as a map with contour lines, each with the path on it.

    Args:
        file: a PNG.
        title: above both.
        labels: of the weights x and y.
        values: [P] of both weights.
        losses: [P, P] by (y, x).
        path: [T, 2] values of the weights, from the first step to the last.
    """
    from matplotlib.colors import PowerNorm  # takes 0.3 s, and is needed at the end only

    made = figure(12, 5.4, title)
    # Shades follow the root of the loss, as rings do below: a bowl would else be dark all over.
    shades = {"cmap": "viridis", "norm": PowerNorm(0.5, losses.min(), losses.max()), "alpha": 0.8}
    space = made.add_subplot(1, 2, 1, projection="3d", computed_zorder=False)
    plane = made.add_subplot(1, 2, 2)
    _draw_space(space, values, losses, path, shades)
    rings = _draw_plane(plane, values, losses, path, shades)
    form = "{x:,.0f}" if losses.max() >= 1000 else "{x:.3g}"
    made.colorbar(rings, ax=plane, label="training loss", shrink=0.9, format=form)
    space.zaxis.set_major_formatter(form)
    limits = (values[0], values[-1])
    for axis in (space, plane):
        axis.set(xlabel=plain(labels[0]), ylabel=plain(labels[1]), xlim=limits, ylim=limits)
    save(made, file)


def _draw_space(axis: Any, values: Array, losses: Array, path: Array, shades: Mapping[str, Any]) -> None:
    axis.plot_surface(*np.meshgrid(values, values), losses, rcount=60, ccount=60, **shades)
    heights = _heights(values, losses, path)
    axis.plot(path[:, 0], path[:, 1], heights, color=PATH, linewidth=2)
    _draw_ends(axis, np.column_stack([path, heights]))
    axis.locator_params(nbins=6)
    axis.set_zlabel("training loss", labelpad=20)
    axis.tick_params(axis="z", pad=11)
    axis.view_init(elev=35, azim=-65)
    axis.set_box_aspect(None, zoom=0.88)  # labels in space count for nothing in the layout


def _draw_plane(axis: Any, values: Array, losses: Array, path: Array, shades: Mapping[str, Any]) -> Any:
    # Levels in steps that grow evenly, so that a bowl shows evenly spaced rings.
    levels = losses.min() + np.ptp(losses) * np.linspace(0, 1, 15) ** 2
    rings = axis.contourf(values, values, losses, levels, **shades)
    axis.contour(values, values, losses, levels, colors="white", linewidths=0.6)
    axis.plot(path[:, 0], path[:, 1], color=PATH, linewidth=2)
    _draw_ends(axis, path)
    axis.set_aspect("equal")
    axis.legend(frameon=True, loc="upper right")
    return rings


def _draw_ends(axis: Any, path: Array) -> None:
    for point, marker, label in ((path[0], "o", "start"), (path[-1], "*", "end")):
        style = {"marker": marker, "color": PATH, "markeredgecolor": INK, "linestyle": "none"}
        axis.plot(*point[:, None], label=label, markersize=13 if marker == "*" else 8, **style)


def _heights(values: Array, losses: Array, path: Array) -> Array:
    """Interpolate the losses [P, P] at the points of a path [T, 2]; NaN, which is not drawn, outside of the grid."""
    place = (path - values[0]) / (values[1] - values[0])
    cell = np.clip(np.floor(place), 0, len(values) - 2).astype(np.int64)
    (column, row), (right, up) = cell.T, (place - cell).T
    heights = (
        losses[row, column] * (1 - right) * (1 - up)
        + losses[row, column + 1] * right * (1 - up)
        + losses[row + 1, column] * (1 - right) * up
        + losses[row + 1, column + 1] * right * up
    )
    inside = ((place >= 0) & (place <= len(values) - 1)).all(axis=1)
    return np.where(inside, heights, np.nan)
