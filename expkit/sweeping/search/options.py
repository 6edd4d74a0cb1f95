"""How to search, as plain values; conf/hydra/sweeper/expkit_optuna.yaml documents them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expkit.errors import ConfigError, did_you_mean

SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("none", "median", "asha", "hyperband")
NODE = "hydra.sweeper"


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        sampler: who proposes: "tpe", "random", "grid", "cmaes".
        sampler_options: of Optuna's class.
        pruner: who ends runs that are not worth training on: "none", "median", "asha", "hyperband".
        pruner_options: of Optuna's class.
        trials: in all, those of earlier starts among them; None with a grid for all combinations.
        seed: of the sampler; None for another one each time.
        direction: "minimize" or "maximize", only to be sure of it; the metric knows.
        objectives: names of what to optimise, or names with their directions; empty for what the runs monitor.
        storage: URL of the study; None for a file in the folder of the sweep.
        study: its name.
        timeout: seconds after which no trial begins.
        max_failures: as many failed trials in a row end the search.
    """

    sampler: str = "tpe"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    trials: int | None = 20
    seed: int | None = 0
    direction: str | None = None
    objectives: Mapping[str, str | None] = field(default_factory=dict)
    storage: str | None = None
    study: str = "expkit"
    timeout: float | None = None
    max_failures: int = 5

    def __post_init__(self) -> None:
        """Refuse values that a type alone does not.

        Raises:
            ConfigError: the first one, with what is allowed.
        """
        _one_of("sampler", self.sampler, SAMPLERS)
        _one_of("pruner", self.pruner, PRUNERS)
        directions = {"direction": self.direction}
        directions |= {f"objectives.{name}": direction for name, direction in self.objectives.items()}
        for key, direction in directions.items():
            if direction is not None:
                _one_of(key, direction, ("minimize", "maximize"))
        if self.trials is None and self.sampler != "grid":
            raise ConfigError(f"{NODE}.trials=null: only sampler=grid comes to an end by itself. Give a number.")
        for key, number in (("trials", self.trials), ("max_failures", self.max_failures)):
            if number is not None and number < 1:
                raise ConfigError(f"{NODE}.{key}={number}: must be at least 1.")
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ConfigError(f"{NODE}.seed={self.seed}: must be from 0 to 4294967295, or null.")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"{NODE}.timeout={self.timeout}: must be greater than 0, or null.")
        self._check_several()

    def _check_several(self) -> None:
        if len(self.objectives) < 2:
            return
        if self.direction is not None:
            raise ConfigError(
                f"{NODE}.direction={self.direction}: there are {len(self.objectives)} objectives. Give each its own: "
                f"{NODE}.objectives={{valid/accuracy: maximize, seconds: minimize}}."
            )
        if self.pruner != "none":
            raise ConfigError(
                f"{NODE}.pruner={self.pruner}: with several objectives no trial can be called hopeless, so that Optuna "
                f"does not prune. Write {NODE}.pruner=none, or keep one objective."
            )
        if self.sampler == "cmaes":
            raise ConfigError(f"{NODE}.sampler=cmaes: CMA-ES knows one objective only. Use tpe, random or grid.")


def _one_of(key: str, word: str, allowed: tuple[str, ...]) -> None:
    if word not in allowed:
        near = did_you_mean(word, allowed)
        raise ConfigError(f"{NODE}.{key}={word}: must be one of {', '.join(allowed)}.{near}")
