"""Random crops of images."""

from collections.abc import Sequence

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _checks, _sampling


class Crop:
    """Cut a random part out of each image, and enlarge it to the whole image's size (Szegedy et al. 2015, sec. 6).

    The part has the image's own aspect ratio.

    Args:
        spec: supplied; inputs must be images.
        scale: smallest and largest share of an image's area that is kept, above 0 and at most 1.
        probability: share of the images that are cut.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> parts = Crop(spec, scale=[0.6, 1.0])(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, scale: Sequence[float] = (0.8, 1.0), probability: float = 1.0):
        _checks.image_spec("crop", spec)
        self._scale = _checks.share_range("crop.scale", scale)
        self._probability = _checks.between("crop.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where sizes and places come from, four numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("crop", batch.inputs)
        height, width = images.shape[1:3]
        side = np.sqrt(generator.uniform(*self._scale, size=len(images)))
        down, right, chance = generator.random((3, len(images)))
        chosen = chance < self._probability
        rows = _origins(side[chosen], down[chosen], height)
        columns = _origins(side[chosen], right[chosen], width)
        parts = _sampling.rows_at(images[chosen], rows, edge=True)
        parts = _sampling.rows_at(parts.swapaxes(1, 2), columns, edge=True).swapaxes(1, 2)
        out = images.copy()
        out[chosen] = _sampling.as_pixels(parts)
        return Batch(out, batch.targets)


def _origins(side: Array, place: Array, length: int) -> Array:
    """Return where pixels along one axis come from, [N, length, 1], counted from the centre of the first."""
    begin = place * (1 - side) * length
    origins: Array = begin[:, None] + (np.arange(length) + 0.5) * side[:, None] - 0.5
    return origins[..., None]
