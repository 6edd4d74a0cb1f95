"""Two pictures of a search, with the trials that were pruned in them: its history, and its values by option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.figures import drawn_text, empty_figure, figure_of, save, scale_by_logarithm
from expkit.sweeping.search.objectives import Objective

BLUE, GREY, INK = "#2563eb", "#64748b", "#334155"
WIDE_LABELS = 24
"""Characters of all labels of a panel, above which they are turned."""


@dataclass(frozen=True)
class Dot:
    """One trial in a picture.

    Attributes:
        number: of the trial.
        value: that it came to, or had reached when it was pruned.
        pruned: whether it was.
        params: what it tried.
        domains: Optuna's distributions of these.
    """

    number: int
    value: float
    pruned: bool
    params: Mapping[str, Any]
    domains: Mapping[str, Any]


def dots(trials: Sequence[Any], place: int) -> list[Dot]:
    """Return the trials that have a finite value.

    Args:
        trials: of Optuna's study.
        place: of the objective among several.
    """
    found = []
    for trial in trials:
        value = math.nan
        if trial.state.name == "COMPLETE":
            value = trial.values[place]
        elif trial.state.name == "PRUNED" and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        if math.isfinite(value):
            pruned = trial.state.name == "PRUNED"
            found.append(Dot(trial.number, float(value), pruned, trial.params, trial.distributions))
    return found


def varied(found: Sequence[Dot]) -> list[str]:
    """Return the options of which more than one value was tried, in the order of the first trials."""
    names = dict.fromkeys(name for one in found for name in one.params)
    return [name for name in names if len({str(one.params[name]) for one in found if name in one.params}) > 1]


def draw_history(file: Path, title: str, found: Sequence[Dot], objective: Objective) -> None:
    """Draw the value of each trial, and the best so far."""
    figure = empty_figure((8.0, 5.0))
    figure.suptitle(drawn_text(title), fontsize=10)
    axis = figure.add_subplot()
    _scatter(axis, [(one.number, one.value, one) for one in found], BLUE)
    best: list[float] = []
    finished = [one for one in found if not one.pruned]
    for one in finished:
        better = max if objective.higher_is_better else min
        best.append(better([*best[-1:], one.value]))
    if finished:
        steps = [*(one.number for one in finished), found[-1].number]
        axis.plot(steps, [*best, best[-1]], drawstyle="steps-post", color=INK, linewidth=1, label="best so far")
    axis.set(xlabel="trial", ylabel=drawn_text(objective.name))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save(figure, file)


def draw_slices(file: Path, title: str, found: Sequence[Dot], objective: Objective) -> None:
    """Draw the value against each option that varied, later trials darker, over all that could have been tried."""
    names = varied(found)
    figure, axes = figure_of(len(names), title, size=4.0)
    last = max(one.number for one in found)
    colours: Any = None
    for place, (name, axis) in enumerate(zip(names, axes, strict=True)):
        mine = [one for one in found if name in one.params]
        places = _lay_out(axis, name, mine)
        colours = (
            _scatter(axis, [(x, one.value, one) for x, one in zip(places, mine, strict=True)], None, last) or colours
        )
        axis.set_xlabel(drawn_text(name, 60))
        axis.sharey(axes[0])
        if place % 3 == 0:
            axis.set_ylabel(drawn_text(objective.name))
    legend = figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    for handle in legend.legend_handles:
        handle.set(array=None, color=INK)  # else of the colour of some trial
    bar = figure.colorbar(colours, ax=axes, label="trial", shrink=0.8)
    bar.ax.yaxis.get_major_locator().set_params(integer=True)
    save(figure, file)


def _lay_out(axis: Any, name: str, found: Sequence[Dot]) -> list[float]:
    """Make the x axis of an option, as wide as its domain; returns the place of each trial on it."""
    domain = found[-1].domains[name]
    if hasattr(domain, "choices"):
        choices = [one for one in domain.choices if any(dot.params[name] == one for dot in found)]
        labels = [drawn_text(str(one), 16) for one in choices]
        turned = (
            {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(labels)) > WIDE_LABELS else {}
        )
        axis.set_xticks(range(len(choices)), labels, **turned)
        axis.set_xlim(-0.6, len(choices) - 0.4)
        # Side by side, for many trials come to nearly the same.
        return [choices.index(dot.params[name]) + (dot.number % 7 - 3) * 0.04 for dot in found]
    low, high = min(dot.domains[name].low for dot in found), max(dot.domains[name].high for dot in found)
    if domain.log:
        scale_by_logarithm(axis, "x")
        margin = (high / low) ** 0.04
        axis.set_xlim(low / margin, high * margin)
    else:
        axis.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        axis.xaxis.get_major_locator().set_params(integer=isinstance(domain.low, int), nbins=6)
    return [float(dot.params[name]) for dot in found]


def _scatter(axis: Any, places: Sequence[tuple[float, float, Dot]], colour: str | None, last: int = 0) -> Any:
    """Draw dots for trials that ended and crosses for those that were pruned; returns one of both, with its colours."""
    drawn = None
    for pruned, marker, label, fixed in ((False, "o", "finished", colour), (True, "x", "pruned", colour and GREY)):
        mine = [(x, y, dot) for x, y, dot in places if dot.pruned == pruned]
        if not mine and colour:
            continue
        given = {"c": [dot.number for _, _, dot in mine], "cmap": "viridis_r", "vmin": 0, "vmax": max(last, 1)}
        given = {"color": fixed} if fixed else given
        points = axis.scatter(
            [x for x, _, _ in mine], [y for _, y, _ in mine], marker=marker, s=28, label=label, **given
        )
        drawn = points
    return drawn
