"""What the metrics of regression share: which targets they take, and a mean over residuals."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec, Values


class MeanOfResiduals(ABC):
    """Mean over samples and outputs of what `_size` makes of each difference of output and target.

    Attributes:
        name: as chosen by `metrics=`.
    """

    name: str
    higher_is_better = False

    def __init__(self, spec: DataSpec, own_unit: bool):
        check_target(self.name, spec)
        self._scale = own_scale(spec, own_unit)
        self._scaled = bool((self._scale != 1).any())
        self.reset()

    @abstractmethod
    def _size(self, difference: Array) -> Array:
        """Return how bad each difference [N, K] is, [N, K]."""

    def reset(self) -> None:
        """Forget all batches."""
        self._sum = 0.0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets [N, K] float32 (or classes [N] when K is 1) of one batch.

        Raises:
            ConfigError: the shapes differ.
        """
        if outputs.itemsize <= 4 and targets.itemsize <= 4:  # whose squares all fit into float64
            self._add(outputs, targets)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # an exploding run shows as inf
                self._add(outputs, targets)

    def _add(self, outputs: Array, targets: Array) -> None:
        difference = residuals(self.name, outputs, targets)
        if self._scaled:
            difference *= self._scale
        self._sum += float(self._size(difference).sum())
        self._count += difference.size

    def compute(self) -> float:
        """Value over all batches; NaN when there were none, or an infinite output met the same infinity as target."""
        return self._sum / self._count if self._count else float("nan")

    def merge(self, other: "MeanOfResiduals") -> None:
        """Take in what another one has gathered."""
        self._sum += other._sum
        self._count += other._count

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._sum, self._count = state["sum"], state["count"]


def check_target(metric: str, spec: DataSpec) -> None:
    """Refuse a classification with several outputs.

    Raises:
        ConfigError: the targets are classes.
    """
    if spec.is_classification and spec.outputs != 1:
        raise ConfigError(
            f"metrics={metric} needs numbers to predict, but the targets of {spec.name} are {spec.outputs} "
            "classes. Choose metrics=accuracy."
        )


def own_scale(spec: DataSpec, own_unit: bool) -> Array:
    """Return the factor of a residual, per output [K] float64: 1, or the size of the target's unit."""
    if own_unit and isinstance(spec.target, Values):
        return np.asarray(spec.target.scale, dtype=np.float64)
    return np.ones(spec.outputs)


def fitting(metric: str, outputs: Array, targets: Array) -> Array:
    """Return the targets in the shape of the outputs: [N, K], also where they are classes [N] and K is 1.

    Raises:
        ConfigError: the shapes differ; nothing is broadcast.
    """
    if targets.ndim == 1 and outputs.shape[-1] == 1 and targets.dtype.kind in "iu":
        targets = targets[:, None]
    if outputs.shape != targets.shape:
        raise ConfigError(
            f"metrics={metric} needs outputs and targets of one shape [N, K], but the model answered "
            f"{list(outputs.shape)} to targets {list(targets.shape)}."
        )
    return targets


@np.errstate(invalid="ignore")
def residuals(metric: str, outputs: Array, targets: Array) -> Array:
    """Return outputs minus targets, [N, K] float64; NaN where both are the same infinity, which is no number.

    Raises:
        ConfigError: the shapes differ; nothing is broadcast.
    """
    return np.subtract(outputs, fitting(metric, outputs, targets), dtype=np.float64)
