"""The pictures of a study, Optuna's among them, made fit to be read: how the search went, which options mattered."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.figures import save
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.plots import dots, draw_history, draw_slices, varied
from expkit.sweeping.search.study import hushed, import_optuna

if TYPE_CHECKING:
    import optuna

MOST_IN_LEGEND = 10
ENOUGH = 10
"""Finished trials that it takes to tell which options matter: of two, the first option explains all."""

log = logging.getLogger("expkit")


def draw(study: optuna.Study, objectives: Sequence[Objective], folder: Path, title: str) -> list[Path]:
    """Draw history, importances, slices and learning curves of a study, and the Pareto front of several objectives.

    What there is too little for is left out: importances of a single trial, or of values that are all the same.

    Args:
        study: with its trials.
        objectives: that it has.
        folder: where to.
        title: above each picture.

    Returns:
        The files.
    """
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _own_pictures(trials, objectives, folder, title)
    with hushed(), _own_style() as plots:
        for name, draw_one in _pictures(plots, study, objectives, complete):
            try:
                axes = draw_one()
            except (ArithmeticError, ValueError, RuntimeError) as error:  # importances of two or three trials, mostly
                log.info("search: no picture of %s: %s", name, error)
                continue
            all_axes = [axes] if hasattr(axes, "figure") else list(axes.flat)
            figure = all_axes[0].figure
            figure.set_layout_engine("constrained")
            figure.suptitle(f"{title}  |  {name.partition('-')[0]}", fontsize=10)
            _polish(name, figure, all_axes, objectives[0].name)
            file = folder / f"{name}.png"
            save(figure, file)
            drawn.append(file)
    return drawn


def enough_for_importances(study: optuna.Study) -> str:
    """Say in words why there is no picture of what mattered; empty where it is not for want of trials."""
    ended = sum(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))
    return f"of {ended} finished trials these would be chance; from {ENOUGH} on" if 0 < ended < ENOUGH else ""


def _own_pictures(trials: Sequence[Any], objectives: Sequence[Objective], folder: Path, title: str) -> list[Path]:
    drawn = []
    for place, one in enumerate(objectives):
        found, end = dots(trials, place), _ending(objectives, one)
        kinds = [("history", draw_history), ("slices", draw_slices)]
        enough = [bool(found), bool(varied(found)) and len({dot.value for dot in found}) > 1]
        for (name, draw_one), is_enough in zip(kinds, enough, strict=True):
            if is_enough:
                drawn.append(folder / f"{name}{end}.png")
                draw_one(drawn[-1], f"{title}  |  {name}", found, one)
    return drawn


def _ending(objectives: Sequence[Objective], one: Objective) -> str:
    return f"-{one.name.replace('/', '-')}" if len(objectives) > 1 else ""


def _pictures(
    plots: Any, study: optuna.Study, objectives: Sequence[Objective], complete: Sequence[Any]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield name and drawing function of each picture that there is enough for."""
    several = len(objectives) > 1
    vary = any(trial.params != complete[0].params for trial in complete)
    for place, one in enumerate(objectives):
        end = _ending(objectives, one)
        given = {"target": partial(_value, place) if several else None, "target_name": one.name}
        seen = {trial.values[place] for trial in complete}
        enough = vary and len(seen) > 1 and len(complete) >= ENOUGH
        if enough and all(math.isfinite(value) for value in seen):
            yield f"importances{end}", partial(plots.plot_param_importances, study, **given)
    if 1 < len(objectives) < 4:
        yield "pareto", partial(plots.plot_pareto_front, study, target_names=[one.name for one in objectives])
    if any(len(trial.intermediate_values) > 1 for trial in study.get_trials(deepcopy=False)):
        yield "learning", partial(plots.plot_intermediate_values, study)


def _value(place: int, trial: Any) -> float:
    return float(trial.values[place])


def _polish(name: str, figure: Any, axes: Sequence[Any], objective: str) -> None:
    """Make room for names and mend what many trials or long names make unreadable."""
    figure.set_size_inches(8.0, 5.0)
    for axis in axes:
        axis.set_title("")
        axis.set_title("", loc="left")
    if name == "learning":
        (axis,) = axes
        axis.set(xlabel="epoch", ylabel=objective)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(axis.get_lines()) > MOST_IN_LEGEND:
            axis.get_legend().remove()
    elif name.startswith("importances"):
        axes[0].get_legend().remove()  # of one colour
        axes[0].set(ylabel="", xlabel="share of what the options together explain")


@contextmanager
def _own_style() -> Iterator[Any]:
    """Give Optuna's drawing functions; they change Matplotlib's style for good, and may open windows."""
    import matplotlib

    before = matplotlib.get_backend(auto_select=False)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    try:
        with matplotlib.rc_context():
            yield import_optuna().visualization.matplotlib
    finally:
        pyplot.close("all")
        if before is not None:
            matplotlib.use(before)
