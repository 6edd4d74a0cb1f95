"""The pictures of a look inside a model: histograms, kernels, feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, inspection
from expkit_callbacks._figures import FAINT, INK, clean, figure, mosaic, plain, save

MOST_ROWS = 10
"""Layers in the picture of histograms."""
MOST_CURVES = 6
"""Epochs in it."""
MOST_KERNELS = 24
"""Kernels a side."""
MOST_MAPS = 30
"""Channels of a layer."""
LAYERS = 4
"""Convolutions whose kernels or maps are drawn."""
SIGNED = "RdBu_r"


def draw_histograms(path: Path, memory: Sequence[dict[str, Any]]) -> None:
    """Draw how outputs, weights and gradients of each layer are spread, a curve for each look.

    Args:
        path: where to.
        memory: of each look its "epoch" and "rows": by layer, and in it by what, the packed histogram.
    """
    looks = _chosen(memory, MOST_CURVES)
    names = list(memory[-1]["rows"])
    if not names:
        return
    rows = _chosen(names, MOST_ROWS)
    columns = [what for what in ("outputs", "weights", "gradients") if what in memory[-1]["rows"][rows[0]]]
    shown = f"; {len(rows)} of {len(names)} layers" if len(rows) < len(names) else ""
    title = f"histograms without exact zeros, each scaled to its peak{shown}"
    made = figure(3.4 * len(columns) + 1.2, 1.7 * len(rows) + 0.9, title)
    colours = _shades(len(looks))
    grid = made.subplots(len(rows), len(columns), squeeze=False)
    for row, name in enumerate(rows):
        for column, what in enumerate(columns):
            axis = grid[row, column]
            _draw_histogram(axis, [look["rows"].get(name, {}).get(what) for look in looks], colours)
            if row == 0:
                axis.set_title(what, fontsize=10)
        grid[row, 0].set_ylabel(plain(name or "model", 20), fontsize=9, color=INK)
    lines = [grid[0, 0].plot([], [], color=colour, linewidth=2)[0] for colour in colours]
    labels = [f"epoch {look['epoch']}" for look in looks]
    made.legend(lines, labels, loc="outside right upper", frameon=False, fontsize=8)
    save(made, path)


def draw_kernels(path: Path, look: inspection.Look, epoch: int) -> None:
    """Draw the kernels of the first convolutions; nothing, where there are none.

    Args:
        path: where to.
        look: at the model.
        epoch: of the look.
    """
    found = [p for p in look.parameters if p.kernels is not None and max(p.shape[2:]) > 1][:2]
    if not found:
        return
    made = figure(4.9 * len(found) + 0.6, 5.2, f"kernels, epoch {epoch}")
    for place, parameter in enumerate(found, start=1):
        axis = made.add_subplot(1, len(found), place)
        kernels = np.asarray(parameter.kernels, dtype=np.float64)
        top = float(np.abs(kernels).max()) or 1.0
        count, depth, *size = kernels.shape
        what = f"{f'{count} x {depth}' if depth > 1 else count} kernels {size[0]} x {size[1]}"
        if depth == 3:  # they see colours
            axis.imshow(_colour_tiles(kernels[: MOST_KERNELS * 2] / top), interpolation="nearest")
            axis.set_axis_off()
            what = f"{count} kernels {size[0]} x {size[1]}, grey is 0"
        else:
            image = _draw_signed(axis, _kernel_tiles(axis, kernels), top)
            bar = made.colorbar(image, ax=axis, shrink=0.6, pad=0.02)
            bar.ax.tick_params(labelsize=7)
            bar.outline.set_visible(False)
        axis.set_title(plain(f"{parameter.name}: {what}"), fontsize=9)
    save(made, path)


def draw_feature_maps(path: Path, look: inspection.Look, epoch: int, raw: Array, names: Sequence[str]) -> None:
    """Draw what convolutions make of one or two samples; nothing, where there are no convolutions.

    Args:
        path: where to.
        look: at the model.
        epoch: of the look.
        raw: the batch as it was before normalisation [N, ...].
        names: of the class of the first samples, or "".
    """
    maps = [(layer.name, layer.samples) for layer in look.layers if layer.samples is not None][:LAYERS]
    if not maps:
        return
    count = min(len(maps[0][1]), len(names))
    title = f"what convolutions make of {count} samples, before activation, epoch {epoch}: red above 0, blue below"
    tiles = [[_map_tiles(values[n]) for n in range(count)] for _, values in maps]
    heights = [1.3] + [5.4 * row[0].shape[0] / row[0].shape[1] + 0.25 for row in tiles]
    made = figure(5.6 * count, sum(heights) + 0.5, title)
    grid = made.subplots(1 + len(maps), count, squeeze=False, height_ratios=heights)
    for sample in range(count):
        if raw.ndim > 2:
            grid[0, sample].imshow(raw[sample], cmap="gray")
        grid[0, sample].set_title(plain(names[sample]), fontsize=9)
        grid[0, sample].set_axis_off()
        for row, (name, values) in enumerate(maps):
            top = float(np.nanmax(np.abs(values))) or 1.0
            axis, channels = grid[row + 1, sample], values.shape[1]
            _draw_signed(axis, tiles[row][sample], top)
            axis.set_axis_off()
            shown = f"{MOST_MAPS} of {channels} channels" if channels > MOST_MAPS else f"{channels} channels"
            axis.set_title(plain(f"{name or 'model'}: {shown}, ±{top:.2g}"), fontsize=8)
    save(made, path)


def _draw_histogram(axis: Any, histograms: Sequence[dict[str, Any] | None], colours: Sequence[Any]) -> None:
    note = ""
    for histogram, colour in zip(histograms, colours, strict=True):
        if histogram is None:
            continue
        note = "\n".join(
            ([f"zeros {histogram['zeros']:.0%}"] if histogram["zeros"] >= 0.005 else [])
            + ([f"not finite {histogram['not_finite']:,}"] if histogram["not_finite"] else [])
        )
        counts = np.asarray(histogram["counts"], dtype=np.float64)
        if counts.max() > 0:
            edges = np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
            axis.stairs(counts / counts.max(), edges, color=colour, linewidth=1.3)
            axis.stairs(counts / counts.max(), edges, color=colour, fill=True, alpha=0.12)
    axis.text(0.98, 0.95, note, transform=axis.transAxes, ha="right", va="top", fontsize=7, color=INK)
    axis.set_ylim(0, 1.25 if note else 1.08)
    axis.set_yticks([])
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="x", labelsize=7)
    clean(axis)


def _kernel_tiles(axis: Any, kernels: Array) -> Array:
    """Set kernels side by side: outputs in rows and inputs in columns, or all in a square where there is one input."""
    if kernels.shape[1] == 1:
        axis.set_axis_off()
        tiles = kernels[: MOST_KERNELS * 2, 0]
        return mosaic(tiles, math.ceil(len(tiles) ** 0.5))
    some = kernels[:MOST_KERNELS, :MOST_KERNELS]
    rows, columns, height, width = some.shape
    axis.set_xlabel("input channel", fontsize=8)
    axis.set_ylabel("output channel", fontsize=8)
    marks = range(0, columns, 5), range(0, rows, 5)
    axis.set_xticks([m * (width + 1) + (width - 1) / 2 for m in marks[0]], marks[0])
    axis.set_yticks([m * (height + 1) + (height - 1) / 2 for m in marks[1]], marks[1])
    axis.tick_params(labelsize=7, length=0)
    axis.spines[:].set_visible(False)
    return mosaic(some.reshape(-1, height, width), columns)


def _map_tiles(maps: Array) -> Array:
    return mosaic(maps[:MOST_MAPS], min(max(len(maps), 5), 10))


def _colour_tiles(kernels: Array) -> Array:
    side = math.ceil(len(kernels) ** 0.5)
    planes = [mosaic((kernels[:, channel] + 1) / 2, side) for channel in range(3)]
    return np.nan_to_num(np.stack(planes, axis=-1), nan=1.0)


def _draw_signed(axis: Any, values: Array, top: float) -> Any:
    import matplotlib

    colours = matplotlib.colormaps[SIGNED].with_extremes(bad=FAINT)
    return axis.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=-top, vmax=top, interpolation="nearest")


def _shades(count: int) -> list[Any]:
    import matplotlib

    if count == 1:
        return ["#2563eb"]
    shades = matplotlib.colormaps["viridis"]
    return [shades(0.85 * (1 - n / (count - 1))) for n in range(count)]


def _chosen(values: Sequence[Any], most: int) -> list[Any]:
    """Choose so many, evenly, with the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[n] for n in sorted({round(i * (len(values) - 1) / (most - 1)) for i in range(most)})]
