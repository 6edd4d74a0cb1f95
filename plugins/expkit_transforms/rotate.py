"""Random rotation of images."""

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _checks, _sampling


class Rotate:
    """Turn each image around its centre by a random angle, with black coming in from outside (Simard et al. 2003).

    Args:
        spec: supplied; inputs must be images.
        degrees: largest angle, to the left and to the right, from 0 to 180.
        probability: share of the images that are turned.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> turned = Rotate(spec, degrees=14.0)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(self, spec: DataSpec, *, degrees: float = 14.0, probability: float = 1.0):
        _checks.image_spec("rotate", spec)
        self._degrees = _checks.between("rotate.degrees", degrees, 0, 180)
        self._probability = _checks.between("rotate.probability", probability, 0, 1)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where angles come from, two numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("rotate", batch.inputs)
        angles = generator.uniform(-self._degrees, self._degrees, size=len(images))
        chosen = generator.random(len(images)) < self._probability
        rows, columns = _origins(np.radians(angles[chosen]), images.shape[1:3])
        out = images.copy()
        out[chosen] = _sampling.bilinear(images[chosen], rows, columns)
        return Batch(out, batch.targets)


def _origins(angles: Array, size: tuple[int, ...]) -> tuple[Array, Array]:
    """Return where each pixel comes from, [N, H, W] each, when images are turned to the left."""
    cosine, sine = (f(angles).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    middle_row, middle_column = (np.float32((length - 1) / 2) for length in size)
    down = np.arange(size[0], dtype=np.float32)[:, None] - middle_row
    right = np.arange(size[1], dtype=np.float32) - middle_column
    rows = cosine * down + sine * right + middle_row
    columns = cosine * right - sine * down + middle_column
    return rows, columns
