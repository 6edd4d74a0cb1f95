"""What the metrics of regression share."""

import numpy as np

from expkit.api import Array, ConfigError, DataSpec, Values


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


def residuals(metric: str, outputs: Array, targets: Array) -> Array:
    """Return outputs minus targets, [N, K] float64.

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
    return np.subtract(outputs, targets, dtype=np.float64)
