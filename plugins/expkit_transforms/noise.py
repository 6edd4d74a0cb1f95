"""Gaussian noise."""

import math

import numpy as np

from expkit.api import Array, Batch, ConfigError, DataSpec, TableInput


class Noise:
    """Add Gaussian noise to every raw input, with the dtype kept and pixels clipped to 0..255 (Bishop 1995).

    Args:
        spec: supplied; images kept as uint8, or a table.
        std: standard deviation; 1 is the whole range of a pixel, or the scale of a table's column.

    Raises:
        ConfigError: std is negative or not finite.

    Example:
        >>> noisy = Noise(spec, std=0.1)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, std: float = 0.05):
        if not (math.isfinite(std) and std >= 0):
            raise ConfigError(f"transforms.noise.std={std}: must be 0 or a number above 0.")
        self._std = std
        self._columns = np.asarray(spec.input.scale) if isinstance(spec.input, TableInput) else None

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw inputs, uint8 of any shape, or floating [N, F].
            generator: where the noise comes from.

        Raises:
            ConfigError: the raw inputs are of another dtype.
        """
        return Batch(self._noisy(batch.inputs, generator), batch.targets)

    def _noisy(self, raw: Array, generator: np.random.Generator) -> Array:
        if raw.dtype == np.uint8:
            noise = generator.standard_normal(raw.shape, dtype=np.float32)
            noise *= 255 * self._std
            noise += raw
            return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)
        if self._columns is not None and raw.dtype.kind == "f":
            return (raw + generator.standard_normal(raw.shape) * (self._std * self._columns)).astype(raw.dtype)
        raise ConfigError(
            "transforms=noise needs raw uint8 images or a table of floating numbers, "
            f"not {raw.dtype} inputs of shape {list(raw.shape)}, whose range it does not know. Leave it out."
        )
