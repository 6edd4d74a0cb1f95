"""Random brightness of images."""

import numpy as np

from expkit.api import Batch, DataSpec

from . import _checks


class Brightness:
    """Make some images brighter or darker: pixel * factor + offset, clipped to 0..255 (Krizhevsky et al. 2012).

    Args:
        spec: supplied; inputs must be images.
        delta: largest change of the factor, which is from 1 - delta to 1 + delta; from 0 to 1.
        offset: largest number of levels that is added or taken away, from 0 to 255; a black background becomes grey.
        probability: share of the images that are changed.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> changed = Brightness(spec, delta=0.3)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, delta: float = 0.5, offset: float = 0.0, probability: float = 0.5):
        _checks.image_spec("brightness", spec)
        self._delta = _checks.between("brightness.delta", delta, 0, 1)
        self._offset = _checks.between("brightness.offset", offset, 0, 255)
        self._probability = _checks.between("brightness.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where factors come from, three numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("brightness", batch.inputs)
        change, offset, chance = generator.random((3, len(images), *(1,) * (images.ndim - 1)), dtype=np.float32)
        chosen = chance < self._probability
        factor = np.where(chosen, 1 + self._delta * (2 * change - 1), 1)
        values = images * factor.astype(np.float32)
        values += np.where(chosen, self._offset * (2 * offset - 1), 0).astype(np.float32)
        np.rint(values, out=values)
        return Batch(np.clip(values, 0, 255, out=values).astype(np.uint8), batch.targets)
