"""CopyPaste: the foreground of another sample."""

from collections.abc import Sequence

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _boxes, _checks, _sampling, _shares


class CopyPaste:
    """Paste what another sample shows, made smaller, at a random place of some images (Ghiasi et al. 2021).

    As far as classification has it: without masks, the foreground is what is brighter than a threshold, as ink is
    in MNIST; everything else lets the image below shine through. An image then shows two things, so that targets of
    the whole batch become shares of classes [N, K] float32: by the foreground pixels of each that are left to see.

    Args:
        spec: supplied; inputs must be images, bright on dark, targets classes.
        scale: smallest and largest side of what is pasted, as a share of the image's, above 0 and at most 1.
        threshold: level above which a pixel, or one of its channels, is foreground; from 0 to 254.
        probability: share of the images that something is pasted on.

    Raises:
        ConfigError: the inputs are no images, the targets no classes, or an option is out of range.

    Example:
        >>> pasted = CopyPaste(spec, scale=[0.4, 0.6])(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        scale: Sequence[float] = (0.4, 0.7),
        threshold: int = 64,
        probability: float = 0.5,
    ):
        _checks.image_spec("copy_paste", spec)
        self._classes = _checks.class_spec("copy_paste", spec)
        self._scale = _checks.share_range("copy_paste.scale", scale)
        self._threshold = _checks.between("copy_paste.threshold", threshold, 0, 254)
        self._probability = _checks.between("copy_paste.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8; targets [N] int64, or shares [N, K].
            generator: where partners, sizes and places come from, five numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("copy_paste", batch.inputs)
        count = len(images)
        partners = generator.permutation(count)
        scale = generator.uniform(*self._scale, size=count)
        down, right, chance = generator.random((3, count))
        chosen = chance < self._probability
        pasted = _placed(images, partners[chosen], scale[chosen], down[chosen], right[chosen])
        masks = self._foreground(pasted)
        out = images.copy()
        out[chosen] = np.where(_boxes.like(masks, images), pasted, images[chosen])
        share = np.zeros(count)
        left = self._foreground(images[chosen]) & ~masks
        both = np.stack([left, masks]).sum(axis=(2, 3))
        share[chosen] = both[1] / np.maximum(both.sum(axis=0), 1)
        sources = np.stack([np.arange(count), partners], axis=1)
        weights = np.stack([1 - share, share], axis=1)
        return Batch(out, _shares.mixed(batch.targets, sources, weights, self._classes))

    def _foreground(self, images: Array) -> Array:
        brightest: Array = images.max(axis=3) if images.ndim == 4 else images
        return brightest > self._threshold


def _placed(images: Array, sources: Array, scale: Array, down: Array, right: Array) -> Array:
    """Return black images [M, H, W, ...] with one image each, made smaller, at a place that is a share of the room."""
    rows, columns = (
        (_sampling.halves(size) - (place * (1 - scale) * size)[:, None, None]) / scale[:, None, None] - 0.5
        for size, place in zip(images.shape[1:3], (down, right), strict=True)
    )
    values = _sampling.rows_at(images, rows, sources=sources[:, None])
    return _sampling.as_pixels(_sampling.rows_at(values.swapaxes(1, 2), columns).swapaxes(1, 2))
