"""What the pictures of our callbacks share. Figures are made without pyplot, so nothing global is touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array

log = logging.getLogger("expkit.callbacks")
POINTS = 72.0
"""In an inch."""
LINE_POINTS = 10.0
"""From one small line of text to the next."""
INK, FAINT = "#334155", "#cbd5e1"
LINES = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#0891b2", "#dc2626", "#a16207", "#db2777", "#64748b", "#65a30d")


def figure(width: float, height: float, title: str) -> Any:
    """Make an empty figure.

    Args:
        width: inches.
        height: inches.
        title: above everything.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    made.suptitle(plain(title), fontsize=10)
    return made


def plain(text: str, most: int = 120) -> str:
    """Make a name fit to be drawn: shortened, and with a dollar sign that does not begin a formula."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return short.replace("$", r"\$")


def attempt(draw: Callable[[], None], path: Path) -> None:
    """Draw a picture; one that cannot be drawn is a warning, for the run is whole without it.

    Args:
        draw: makes it.
        path: of it, for the warning.
    """
    try:
        draw()
    except Exception as error:  # noqa: BLE001 - Matplotlib fails in many ways on unusual numbers and names
        log.warning("%s could not be drawn: %s: %s", path, type(error).__name__, error)


def save(made: Any, path: Path) -> None:
    """Write a figure as PNG, and make the folder that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.savefig(path, dpi=120)


def clean(axis: Any) -> None:
    """Take away the two borders that carry no scale."""
    axis.spines[["top", "right"]].set_visible(False)


def label_ends(axis: Any, labels: Sequence[tuple[str, float, str]], x: float) -> None:
    """Write the name of each line beside its end, moved apart where names would overlap.

    Args:
        axis: whose limits are final.
        labels: (name, y of the end, colour) of each line.
        x: where the lines end.
    """
    axis.figure.canvas.draw()  # the layout gives it a size
    height = axis.get_window_extent().height / axis.figure.dpi * POINTS
    low, high = axis.get_ylim()
    wanted = sorted(((y - low) / (high - low) * height, name, y, colour) for name, y, colour in labels)
    ends = {"shrinkA": 0, "shrinkB": 3, "relpos": (0, 0.5)}  # from the left of the name
    places = spaced([each[0] for each in wanted], LINE_POINTS, height)
    for place, (_, name, y, colour) in zip(places, wanted, strict=True):
        axis.annotate(
            plain(name, 28),
            xy=(x, y),
            xytext=(1.04, place / height),
            textcoords="axes fraction",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, **ends},
        )


def spaced(places: Sequence[float], gap: float, most: float) -> list[float]:
    """Move places apart: those that would overlap are set around their common middle.

    Args:
        places: in rising order.
        gap: smallest distance between two.
        most: the highest place; the lowest is 0.
    """
    groups: list[list[float]] = []  # of places that touch each other
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _start(groups[-2], gap, most) + gap * len(groups[-2]) > _start(groups[-1], gap, most):
            last = groups.pop()
            groups[-1] += last
    return [_start(group, gap, most) + gap * number for group in groups for number in range(len(group))]


def _start(group: Sequence[float], gap: float, most: float) -> float:
    """Where the first of a group goes, so that the group lies around the middle of what it wanted."""
    length = gap * (len(group) - 1)
    return max(0.0, min(sum(group) / len(group) - length / 2, most - length))


def mosaic(tiles: Array, columns: int) -> Array:
    """Set small pictures [T, H, W] side by side, with a line of NaN (drawn as nothing) between them.

    Args:
        tiles: all of one size.
        columns: in a row.
    """
    count, height, width = tiles.shape
    rows = -(-count // columns)
    made = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        made[top : top + height, left : left + width] = tile
    return made
