"""What a search optimises, and in which direction; the metrics know, so that nobody has to type it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, RunNotFoundError, did_you_mean
from expkit.runs import read_record
from expkit.sweeping.jobs import Outcome, Report
from expkit.sweeping.search.options import NODE, SearchOptions
from expkit.sweeping.standing import directions, monitor_of

SECONDS, PARAMETERS = "seconds", "parameters"


@dataclass(frozen=True)
class Objective:
    """One value that is to be as high or as low as possible.

    Attributes:
        name: of a metric, "valid/accuracy"; or "seconds" or "parameters".
        higher_is_better: its direction.
        monitored: whether it is what the runs themselves go by.
    """

    name: str
    higher_is_better: bool
    monitored: bool = False

    @property
    def direction(self) -> str:
        """In Optuna's words."""
        return "maximize" if self.higher_is_better else "minimize"

    def of_epoch(self, report: Report) -> float | None:
        """Return its value after an epoch; None within one."""
        return report.monitored if self.monitored else report.metrics.get(self.name)

    def of_run(self, outcome: Outcome, folder: Path) -> float:
        """Return its value for a finished run; NaN where it has none.

        Raises:
            ConfigError: the run does not measure it.
        """
        if self.monitored:
            return math.nan if outcome.value is None else outcome.value
        if self.name == SECONDS:
            return outcome.seconds
        if self.name == PARAMETERS:
            return _parameters(folder)
        if self.name not in outcome.metrics:
            raise ConfigError(
                f"{NODE}.objectives: {self.name!r} was not measured.{did_you_mean(self.name, outcome.metrics)} "
                f"Measured are {', '.join(outcome.metrics)}; beside these there are {SECONDS} and {PARAMETERS}."
            )
        return outcome.metrics[self.name]


def find(options: SearchOptions, config: ExperimentConfig) -> tuple[Objective, ...]:
    """Return what is optimised in the runs of an experiment.

    Raises:
        ConfigError: something is not measured; a direction is contradicted by its metric, or has to be given; a value
            that is known at the end only cannot be pruned by.
    """
    known = {**directions(config), SECONDS: False, PARAMETERS: False}
    monitor = monitor_of(config)
    if not options.objectives:
        given = {monitor: options.direction}
    elif len(options.objectives) == 1 and options.direction is not None:
        given = {name: direction or options.direction for name, direction in options.objectives.items()}
    else:
        given = dict(options.objectives)
    found = tuple(_objective(name, direction, known, monitor) for name, direction in given.items())
    if options.pruner != "none" and not found[0].name.startswith("valid/"):
        raise ConfigError(
            f"{NODE}.pruner={options.pruner}: {found[0].name} is known when a run is over, not after each epoch. "
            f"Prune by a validation metric, such as {monitor}, or write {NODE}.pruner=none."
        )
    return found


def _objective(name: str, direction: str | None, known: Mapping[str, bool | None], monitor: str) -> Objective:
    if name not in known:
        raise ConfigError(
            f"{NODE}.objectives: {name!r} is not measured.{did_you_mean(name, known)} Measured are "
            f"{', '.join(known)}; add a metric with metrics=[NAME]."
        )
    higher = known[name]
    if higher is None and direction is None:
        raise ConfigError(
            f"{NODE}: the metric of {name} does not say whether more of it is better. Say so: "
            f"'{NODE}.objectives={{{name}: maximize}}'."
        )
    if higher is not None and direction is not None and higher != (direction == "maximize"):
        better = "higher" if higher else "lower"
        raise ConfigError(
            f"{NODE}: {name} is to {direction}, but of it {better} is better. Leave the direction out: the metric "
            "knows it. Another metric is optimised with checkpoint.monitor=valid/NAME."
        )
    return Objective(name, bool(higher) if higher is not None else direction == "maximize", name == monitor)


def _parameters(folder: Path) -> float:
    try:
        return float(read_record(folder)["summary"]["parameters"])
    except (RunNotFoundError, LookupError, TypeError, ValueError):  # of a learner that does not count them
        return math.nan
