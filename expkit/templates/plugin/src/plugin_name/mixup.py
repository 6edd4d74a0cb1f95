"""Mixed samples."""

import math

import numpy as np
from expkit.api import Array, Batch, ConfigError, DataSpec


class Mixup:
    """Mix each sample with another one, and their targets alike (Zhang et al. 2018, sec. 1).

    Classes become shares of classes, which the loss has to take.

    Args:
        spec: supplied; images kept as uint8, or a table.
        alpha: the share of the other sample is drawn from Beta(alpha, alpha): small ones mix little.

    Raises:
        ConfigError: alpha is no number above 0.
    """

    def __init__(self, spec: DataSpec, *, alpha: float = 0.2):
        if not (math.isfinite(alpha) and alpha > 0):
            raise ConfigError(f"transforms.plugin_name_mixup.alpha={alpha}: must be above 0.")
        self._alpha = alpha
        self._classes = spec.outputs if spec.is_classification else None

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch; one share is drawn for all of it."""
        share = generator.beta(self._alpha, self._alpha)
        order = generator.permutation(len(batch.inputs))
        inputs = _mixed(batch.inputs, order, share)
        if batch.inputs.dtype == np.uint8:
            inputs = np.rint(inputs)
        targets = batch.targets
        if self._classes is not None and targets.ndim == 1:
            targets = np.eye(self._classes, dtype=np.float32)[targets]
        mixed = _mixed(targets, order, share).astype(targets.dtype)
        return Batch(inputs.astype(batch.inputs.dtype), mixed)


def _mixed(values: Array, order: Array, share: float) -> Array:
    return (1 - share) * values + share * values[order]
