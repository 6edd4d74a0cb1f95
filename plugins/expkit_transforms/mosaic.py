"""Mosaic: four samples in one image."""

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _checks, _sampling, _shares


class Mosaic:
    """Show four samples in the quadrants around a random centre, and mix their targets by area.

    From YOLOv4 (Bochkovskiy et al. 2020, sec. 3.3), as far as classification has it: each sample is shown whole, made
    as small as its quadrant. The first of the four is the sample itself, above and left of the centre. Targets of the
    whole batch become shares of classes [N, K] float32.

    Args:
        spec: supplied; inputs must be images, targets classes.
        reach: farthest that the centre is from the image's middle, as a share of its sides; from 0 to below 0.5.
        probability: share of the images that become a mosaic.

    Raises:
        ConfigError: the inputs are no images, the targets no classes, or an option is out of range.

    Example:
        >>> mosaics = Mosaic(spec, probability=1.0)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, reach: float = 0.2, probability: float = 0.5):
        _checks.image_spec("mosaic", spec)
        self._classes = _checks.class_spec("mosaic", spec)
        self._reach = _checks.below("mosaic.reach", reach, 0.5)
        self._probability = _checks.between("mosaic.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8; targets [N] int64, or shares [N, K].
            generator: where partners and centres come from, six numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("mosaic", batch.inputs)
        count, height, width = images.shape[:3]
        sources = np.stack([np.arange(count), *(generator.permutation(count) for _ in range(3))], axis=1)
        centres = 0.5 + generator.uniform(-self._reach, self._reach, size=(2, count))
        chosen = generator.random(count) < self._probability
        row, column = (
            np.clip(np.rint(centre * size), 1, size - 1) for centre, size in zip(centres, (height, width), strict=True)
        )
        out = images.copy()
        out[chosen] = _assembled(images, sources[chosen], row[chosen], column[chosen])
        weights = np.zeros((count, 4))
        weights[:, 0] = 1
        above, before = row / height, column / width
        areas = [above * before, above * (1 - before), (1 - above) * before, (1 - above) * (1 - before)]
        weights[chosen] = np.stack(areas, axis=1)[chosen]
        return Batch(out, _shares.mixed(batch.targets, sources, weights, self._classes))


def _assembled(images: Array, sources: Array, row: Array, column: Array) -> Array:
    """Return mosaics [M, H, W, ...] of four images each: sources [M, 4], upper left, upper right, lower left, right."""
    below, rows = _halved(row, images.shape[1])
    after, columns = _halved(column, images.shape[2])
    left, right = (
        _sampling.rows_at(images, rows, sources=np.take_along_axis(sources[:, side::2], below, axis=1), edge=True)
        for side in (0, 1)
    )
    # Columns are read from `left`, the first half of both, or from `right`, the other.
    both = np.concatenate([left, right]).swapaxes(1, 2)
    number = np.arange(len(sources))[:, None] + len(sources) * after
    return _sampling.as_pixels(_sampling.rows_at(both, columns, sources=number, edge=True).swapaxes(1, 2))


def _halved(cut: Array, size: int) -> tuple[Array, Array]:
    """Return whether each pixel of an axis is beyond the cut, [M, size], and where its halves come from, [.., 2]."""
    places, cut = _sampling.halves(size), cut[:, None, None]
    beyond = places > cut
    share = np.where(beyond, (places - cut) / (size - cut), places / cut)
    return beyond[..., 0].astype(np.intp), share * size - 0.5
