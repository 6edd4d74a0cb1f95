"""Builds the parts of a learner from the config, each when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from expkit.api import DataSpec, Loss, Regularizer, Team
from expkit.component import Component
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError
from expkit.metrics import Meter

_KINDS = ("model", "loss", "optimizer", "schedule", "regularizer")
"""The kinds of components that are there for a learner alone."""
_NEUTRAL = {("schedule", "constant"), ("regularizer", "none")}
"""Choices that ask for nothing."""


def rated(config: ExperimentConfig) -> Component | None:
    """Return what has the learning rate among its options: the optimizer, or a learner that brings its own steps."""
    for component in (config.optimizer, config.learner):
        if component is not None and component.default("learning_rate") is not None:
            return component
    return None


def rate_of(component: Component) -> float:
    """Return the learning rate that a component was given, or has by default."""
    return float(component.options.get("learning_rate", component.default("learning_rate")))


def check_rollback(config: ExperimentConfig, learner: object) -> None:
    """Refuse to roll back with a learner whose rate cannot be made smaller.

    Raises:
        ConfigError: it cannot.
    """
    if config.trainer.on_nonfinite == "rollback" and not hasattr(learner, "scale_learning_rate"):
        raise ConfigError(
            f"trainer.on_nonfinite=rollback: learner={config.learner.name} cannot make its learning rate smaller "
            "(it has no method `scale_learning_rate`). Choose stop or skip."
        )


class ConfiguredParts:
    """The `Parts` of a composed experiment.

    Args:
        config: the experiment.
        spec: the data's spec.
        steps_per_epoch: optimizer steps in one epoch.
        device: as Paddle calls it.
        training: whether steps are to be made.
        team: the devices that train together, where there are several.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        spec: DataSpec,
        *,
        steps_per_epoch: int,
        device: str,
        training: bool = True,
        team: Team | None = None,
    ) -> None:
        self._config, self._team = config, team
        self.spec = spec
        self.epochs = config.trainer.epochs
        self.steps_per_epoch = steps_per_epoch
        self.seed = config.seed
        self.device = device
        self.training = training
        self.tune = config.device.tune
        self.to_static = config.trainer.to_static
        self._asked: set[str] = set()

    @property
    def team(self) -> Team | None:
        """The devices that train together; None where there is one."""
        self._asked.add("team")
        return self._team

    @property
    def engine(self) -> str:
        """What computes on the CPU, by name."""
        self._asked.add("engine")
        return self._config.device.engine

    def refuse_idle(self) -> None:
        """Refuse what was chosen and has no effect, because the learner, which is built, did not ask for it.

        Raises:
            ConfigError: names each such part, and how to go on.
        """
        chosen = {kind: component for kind in _KINDS if (component := getattr(self._config, kind)) is not None}
        idle = {k: c.name for k, c in chosen.items() if k not in self._asked and (k, c.name) not in _NEUTRAL}
        if idle:
            learner = self._config.learner.name
            raise ConfigError(
                f"learner={learner} makes no use of {', '.join(f'{kind}={name}' for kind, name in idle.items())}. "
                f"Leave out what it does not use ({' '.join(f'~{kind}' for kind in idle)}), or choose another learner "
                "(`python -m expkit list learners`)."
            )
        if self._config.device.engine != "paddle" and "engine" not in self._asked:
            raise ConfigError(
                f"device.engine={self._config.device.engine}: learner={self._config.learner.name} has no use for it. "
                "Set device.engine=paddle, or choose learner=paddle."
            )
        if self._team is not None and "team" not in self._asked:
            raise ConfigError(
                f"trainer.devices={self._team.size}: learner={self._config.learner.name} trains on one device only. "
                "Use trainer.devices=1, or learner=paddle."
            )

    def model(self) -> Any:
        """Build the chosen model."""
        return self._needed(self._config.model, "model").build(spec=self.spec)

    def loss(self) -> Loss:
        """Build the chosen loss."""
        loss: Loss = self._needed(self._config.loss, "loss").build(spec=self.spec)
        return loss

    def regularizer(self) -> Regularizer:
        """Build the chosen regularizer."""
        regularizer: Regularizer = self._needed(self._config.regularizer, "regularizer").build()
        return regularizer

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """Build the chosen optimizer on these parameters; its rate follows the chosen schedule."""
        optimizer = self._needed(self._config.optimizer, "optimizer")
        self._asked.add("schedule")
        schedule = self._config.schedule
        if schedule is None or schedule.name == "constant":
            return optimizer.build(parameters=list(parameters))
        base = optimizer.options.get("learning_rate", optimizer.default("learning_rate"))
        if base is None:
            raise ConfigError(
                f"schedule={schedule.name}: optimizer {optimizer.name!r} has no option `learning_rate` that the "
                "schedule could change. Use schedule=constant."
            )
        rate = schedule.build(
            learning_rate=float(base),
            steps_per_epoch=self.steps_per_epoch,
            epochs=self.epochs,
            higher_is_better=self._directions(),
        )
        return optimizer.build(parameters=list(parameters), learning_rate=rate)

    def _directions(self) -> dict[str, bool]:
        meter = Meter({name: metric.build(spec=self.spec) for name, metric in self._config.metrics.items()})
        return {f"{split}/{name}": up for split in ("train", "valid") for name, up in meter.higher_is_better.items()}

    def _needed(self, component: Component | None, kind: str) -> Component:
        self._asked.add(kind)
        if component is None:
            raise ConfigError(f"this learner needs a {kind}. Choose one: {kind}=NAME (`python -m expkit list {kind}`).")
        return component
