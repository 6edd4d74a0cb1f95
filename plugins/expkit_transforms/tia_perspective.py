"""Warp of text images: perspective."""

from typing import Literal

import numpy as np

from expkit.api import Batch, DataSpec

from . import _checks, _text_warp


class TiaPerspective:
    """Show text as if seen from the side: the corners move inwards, up or down, at random (Luo et al. 2020).

    Text Image Augmentation, as PaddleOCR has it for text recognition: the image follows its corners by moving least
    squares, which bends it a little where a true perspective would keep lines straight.

    Args:
        spec: supplied; inputs must be images.
        magnitude: longest move of a corner, in heights of the image, 0 to below 0.5, where corners meet.
        probability: share of the images that are changed.
        outside: what comes in where the frame shrinks: black, or edge for the pixels at the border, drawn out.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> tilted = TiaPerspective(spec, magnitude=0.2)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        magnitude: float = 0.3,
        probability: float = 0.5,
        outside: Literal["black", "edge"] = "black",
    ):
        _checks.image_spec("tia_perspective", spec)
        self._magnitude = _checks.below("tia_perspective.magnitude", magnitude, 0.5)
        self._probability = _checks.between("tia_perspective.probability", probability, 0, 1)
        self._edge = _text_warp.drawn_out("tia_perspective", outside)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where moves come from, five numbers a sample.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("tia_perspective", batch.inputs)
        inwards = self._magnitude * (images.shape[1] - 1) * generator.random((len(images), 2, 2))
        chosen = generator.random(len(images)) < self._probability
        moves = 1j * inwards * [[1], [-1]]
        return Batch(_text_warp.warped(images, chosen, moves, edge=self._edge), batch.targets)
