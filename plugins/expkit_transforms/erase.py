"""Random erasing of parts of images."""

from collections.abc import Sequence

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _boxes, _checks


class Erase:
    """Cover a random box of some images with noise (Zhong et al. 2020, alg. 1, with random values).

    A box that would be longer than the image is cut off, where the paper draws again: so many numbers are drawn
    whatever they are.

    Args:
        spec: supplied; inputs must be images.
        scale: smallest and largest share of an image's area that is covered, above 0 and at most 1.
        aspect: boxes are up to so many times as high as wide, or as wide as high; at least 1.
        probability: share of the images that lose a box.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> covered = Erase(spec, scale=[0.02, 0.1])(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        scale: Sequence[float] = (0.02, 0.2),
        aspect: float = 3.0,
        probability: float = 0.5,
    ):
        _checks.image_spec("erase", spec)
        self._scale = _checks.share_range("erase.scale", scale)
        self._aspect = np.log(_checks.at_least("erase.aspect", aspect, 1))
        self._probability = _checks.between("erase.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where boxes and noise come from, five numbers a sample and one a value.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("erase", batch.inputs)
        height, width = images.shape[1:3]
        area = generator.uniform(*self._scale, size=len(images)) * height * width
        aspect = np.exp(generator.uniform(-self._aspect, self._aspect, size=len(images)))
        down, right, chance = generator.random((3, len(images)))
        top, bottom = _span(np.sqrt(area * aspect), down, height)
        left, right = _span(np.sqrt(area / aspect), right, width)
        masks = _boxes.inside(top, bottom, left, right, (height, width))
        masks &= (chance < self._probability)[:, None, None]
        noise = generator.integers(0, 256, size=images.shape, dtype=np.uint8)
        return Batch(np.where(_boxes.like(masks, images), noise, images), batch.targets)


def _span(length: Array, place: Array, size: int) -> tuple[Array, Array]:
    """Return begin and end of a whole number of pixels, at least one, that are within an image."""
    whole = np.clip(np.rint(length), 1, size)
    begin = np.floor(place * (size - whole + 1))
    return begin, begin + whole
