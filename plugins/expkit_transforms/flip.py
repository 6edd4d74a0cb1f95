"""Random mirror images."""

import numpy as np

from expkit.api import Batch, DataSpec

from . import _checks


class Flip:
    """Mirror some images, left to right or upside down (Krizhevsky et al. 2012, sec. 4.1).

    Right for things that have no side, such as animals. Digits and letters change their meaning: a mirrored 2 is no
    2, and a 6 that is mirrored both ways is a 9.

    Args:
        spec: supplied; inputs must be images.
        horizontal: share of the images that are mirrored left to right.
        vertical: share of the images that are turned upside down; independent of the other.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> mirrored = Flip(spec, horizontal=0.5)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, horizontal: float = 0.5, vertical: float = 0.0):
        _checks.image_spec("flip", spec)
        self._horizontal = _checks.between("flip.horizontal", horizontal, 0, 1)
        self._vertical = _checks.between("flip.vertical", vertical, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] of any dtype.
            generator: decides which, two numbers a sample.

        Raises:
            ConfigError: the raw inputs have another number of axes.
        """
        images = _checks.raw_images("flip", batch.inputs)
        horizontal, vertical = generator.random((2, len(images)))
        sideways, over = horizontal < self._horizontal, vertical < self._vertical
        out = images.copy()
        out[sideways] = out[sideways, :, ::-1]
        out[over] = out[over, ::-1]
        return Batch(out, batch.targets)
