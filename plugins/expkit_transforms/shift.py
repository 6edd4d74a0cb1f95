"""Random translation of images."""

import numpy as np

from expkit.api import Batch, ConfigError, DataSpec

from . import _checks


class Shift:
    """Move each image by a few random pixels, with 0 coming in from outside (Simard et al. 2003).

    Args:
        spec: supplied; inputs must be images.
        pixels: largest move up, down, left and right; 0 leaves images as they are.

    Raises:
        ConfigError: the inputs are no images; pixels is negative or not smaller than the image.

    Example:
        >>> moved = Shift(spec, pixels=2)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, pixels: int = 2):
        height, width = _checks.image_spec("shift", spec)
        if not 0 <= pixels < min(height, width):
            raise ConfigError(
                f"transforms.shift.pixels={pixels}: must be from 0 to {min(height, width) - 1}, "
                f"as images of {spec.name} are {height} x {width} pixels."
            )
        self._pixels = pixels

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] of any dtype.
            generator: where the moves come from, two numbers a sample.

        Raises:
            ConfigError: the raw inputs have another number of axes.
        """
        images, reach = _checks.raw_images("shift", batch.inputs), self._pixels
        count, height, width = images.shape[:3]
        margin = [(0, 0), (reach, reach), (reach, reach), (0, 0)][: images.ndim]
        # All (2 * reach + 1)^2 possible cut-outs of every image, as a view; one gather copies those chosen.
        cuts = np.lib.stride_tricks.sliding_window_view(np.pad(images, margin), (height, width), axis=(1, 2))
        top, left = generator.integers(0, 2 * reach, size=(2, count), endpoint=True)
        if images.ndim == 4:
            cuts = np.moveaxis(cuts, 3, -1)
        return Batch(np.ascontiguousarray(cuts[np.arange(count), top, left]), batch.targets)
