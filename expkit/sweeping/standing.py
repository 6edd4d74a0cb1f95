"""What jobs are compared by, known before the first one starts, and what a sweep that goes on has behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, did_you_mean
from expkit.sweeping.jobs import FINISHED, Outcome, came_to_nothing


@dataclass(frozen=True)
class Aim:
    """What the jobs of a sweep are compared by.

    Attributes:
        name: of the metric that they monitor; empty where it is not known yet.
        higher_is_better: its direction.
        metrics: all that is measured, but on the training data: this one first, then the same on the test data.
    """

    name: str = ""
    higher_is_better: bool = True
    metrics: tuple[str, ...] = ()


class Best(NamedTuple):
    """The best job so far.

    Attributes:
        job: its number.
        value: of the metric that says what is best.
    """

    job: int
    value: float


@dataclass(frozen=True)
class Before:
    """What a sweep has behind it when it starts again.

    Attributes:
        done: jobs that need not be run.
        failed: how many of these came to nothing.
        best: of these; None where none has a result.
    """

    done: int = 0
    failed: int = 0
    best: Best | None = None


NOTHING, UNKNOWN = Before(), Aim()


def aim_of(config: ExperimentConfig) -> Aim:
    """Return what runs of an experiment are compared by; the direction of a metric that does not tell is a guess."""
    known = directions(config)
    wanted = config.checkpoint.monitor
    name = next(iter(known)) if wanted == "auto" else wanted
    names = dict.fromkeys((name, f"test/{name.partition('/')[2]}", *known))
    measured = [one for one in names if one in known and not one.startswith("train/")]
    return Aim(name, known.get(name) is not False, tuple(measured))


def directions(config: ExperimentConfig) -> dict[str, bool | None]:
    """Return what a run measures, and whether more of it is better; None where the class of a metric does not tell."""
    metrics: dict[str, bool | None] = {}
    for name, component in config.metrics.items():
        made = component.factory()
        higher = getattr(getattr(made, "func", made), "higher_is_better", None)
        metrics[name] = higher if isinstance(higher, bool) else None
    metrics["loss"] = False
    found = {f"{split}/{name}": higher for split in ("valid", "test", "train") for name, higher in metrics.items()}
    wanted = config.checkpoint.monitor
    monitor = next(iter(found)) if wanted == "auto" else wanted
    if config.checkpoint.mode != "auto" and monitor in found:
        found[monitor] = config.checkpoint.mode == "max"
    return found


def monitor_of(config: ExperimentConfig) -> str:
    """Return the name of the metric that runs of an experiment monitor.

    Raises:
        ConfigError: they do not measure it.
    """
    name, known = aim_of(config).name, directions(config)
    if name not in known:
        raise ConfigError(
            f"checkpoint.monitor={name!r} is not measured.{did_you_mean(name, known)} Measured are "
            f"{', '.join(one for one in known if one.startswith('valid/'))}; add a metric with metrics=[NAME]."
        )
    return name


def sum_up(outcomes: Mapping[int, Outcome], aim: Aim, done: int | None = None) -> Before:
    """Sum up what came of the jobs that are not run again.

    Args:
        outcomes: of these, by number.
        aim: what they are compared by.
        done: how many count as done; all of them by default.
    """
    failed = 0 if done is not None else sum(came_to_nothing(one.status) for one in outcomes.values())
    best: Best | None = None
    for number, outcome in outcomes.items():
        if counts(outcome) and is_better(outcome.value, best, aim.higher_is_better):
            best = Best(number, float(outcome.value or 0.0))
    return Before(len(outcomes) if done is None else done, failed, best)


def counts(outcome: Outcome) -> bool:
    """Whether a job may be the best one: it trained wholly, as the first one of the table has."""
    return outcome.status == FINISHED and outcome.value is not None


def is_better(value: float | None, best: Best | None, higher_is_better: bool) -> bool:
    """Whether a value beats the best one so far; what is no number beats nothing but nothing at all."""
    if value is None or best is None or best.value != best.value:
        return value is not None and (best is None or value == value)
    return value > best.value if higher_is_better else value < best.value
