"""How pictures look. Figures are made without pyplot, so nothing global is touched and no window opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from expkit.fonts import able_to_write


def scale_by_logarithm(axis: Any, which: str = "y") -> None:
    """Make the x or y axis logarithmic, with as many labels as have room, written 0.6 and not 6 x 10^-1."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, value: float, position: Any = None) -> str:
            return f"{value:g}" if super().__call__(value, position) else ""

    getattr(axis, f"set_{which}scale")("log")
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_formatter(Plain())
    ticks.set_minor_formatter(Plain(labelOnlyBase=False))


def drawn_text(text: str, most: int = 200) -> str:
    """Make a name fit to be drawn: shortened, and with a dollar sign that does not begin a formula."""
    short = text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
    return short.replace("$", r"\$")


def empty_figure(size: tuple[float, float]) -> Any:
    """Return a figure of some width and height in inches, which finds room for all that is in it."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def figure_of(count: int, title: str, size: float = 4.5) -> tuple[Any, list[Any]]:
    """Return a figure with panels beside each other, three a row, and these panels."""
    figure = empty_figure((size * min(count, 3), size * 0.85 * -(-count // 3)))
    figure.suptitle(drawn_text(title), fontsize=10, wrap=True)
    axes = [figure.add_subplot(-(-count // 3), min(count, 3), n + 1) for n in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, in fonts that have the characters of its texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with able_to_write(figure):
        figure.savefig(path, dpi=120)
