"""CutMix: a box of another sample."""

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _boxes, _checks, _shares


class CutMix:
    """Replace a random box of some images by that of another sample, and mix the targets by area (Yun et al. 2019).

    The share of the image that is kept is drawn from Beta(alpha, alpha), the box's centre anywhere; what is outside
    the image is cut off, and targets follow the pixels that were really replaced. Each sample has its own box.
    Targets of the whole batch become shares of classes [N, K] float32.

    Args:
        spec: supplied; inputs must be images, targets classes.
        alpha: of the beta distribution: 1 draws all shares alike, smaller ones prefer very small and very large boxes.
        probability: share of the images that get a box.

    Raises:
        ConfigError: the inputs are no images, the targets no classes, or an option is out of range.

    Example:
        >>> mixed = CutMix(spec)(batch, np.random.default_rng(0))  # doctest: +SKIP
        >>> mixed.targets[0]  # three quarters of a 1 and a quarter of a 3  # doctest: +SKIP
        array([0., 0.75, 0., 0.25, 0., 0., 0., 0., 0., 0.], dtype=float32)
    """

    def __init__(self, spec: DataSpec, *, alpha: float = 1.0, probability: float = 0.5):
        _checks.image_spec("cutmix", spec)
        self._classes = _checks.class_spec("cutmix", spec)
        self._alpha = _checks.above("cutmix.alpha", alpha, 0)
        self._probability = _checks.between("cutmix.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] of any dtype; targets [N] int64, or shares [N, K].
            generator: where partners and boxes come from, five numbers a sample.

        Raises:
            ConfigError: the raw inputs have another number of axes.
        """
        images = _checks.raw_images("cutmix", batch.inputs)
        count, height, width = images.shape[:3]
        partners = generator.permutation(count)
        side = np.sqrt(1 - generator.beta(self._alpha, self._alpha, size=count))
        down, right, chance = generator.random((3, count))
        side[chance >= self._probability] = 0
        top, bottom = _span(side, down, height)
        left, right = _span(side, right, width)
        masks = _boxes.like(_boxes.inside(top, bottom, left, right, (height, width)), images)
        replaced = (bottom - top) * (right - left) / (height * width)
        targets = _shares.mixed(
            batch.targets,
            np.stack([np.arange(count), partners], axis=1),
            np.stack([1 - replaced, replaced], axis=1),
            self._classes,
        )
        return Batch(np.where(masks, images[partners], images), targets)


def _span(side: Array, place: Array, size: int) -> tuple[Array, Array]:
    """Return begin and end of a box along one axis: a share of its pixels around a place, as far as it is inside."""
    length = np.floor(side * size)
    begin = np.floor(place * size) - np.floor(length / 2)
    return np.clip(begin, 0, size), np.clip(begin + length, 0, size)
