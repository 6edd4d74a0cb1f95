"""Warp of text images: stretching."""

from typing import Literal

import numpy as np

from expkit.api import Batch, DataSpec

from . import _checks, _text_warp


class TiaStretch:
    """Stretch some parts of a text and squeeze others: cuts between segments move sideways (Luo et al. 2020).

    Text Image Augmentation, as PaddleOCR has it for text recognition: the width is cut into segments, whose borders
    move while the image's corners stay, and the image follows by moving least squares.

    Args:
        spec: supplied; inputs must be images.
        segments: parts into which the width is cut; at least 2, or there is nothing to move.
        magnitude: longest move of a cut, in widths of a segment, 0 to below 0.5, where cuts meet (PaddleOCR: 0.4).
        probability: share of the images that are stretched.
        outside: what comes in where the frame shrinks: black, or edge for the pixels at the border, drawn out.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> stretched = TiaStretch(spec, segments=4)(batch, np.random.default_rng(0))  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        segments: int = 4,
        magnitude: float = 0.3,
        probability: float = 0.5,
        outside: Literal["black", "edge"] = "black",
    ):
        _, width = _checks.image_spec("tia_stretch", spec)
        self._segments = _text_warp.checked_segments("tia_stretch", segments, width, least=2)
        self._magnitude = _checks.below("tia_stretch.magnitude", magnitude, 0.5)
        self._probability = _checks.between("tia_stretch.probability", probability, 0, 1)
        self._edge = _text_warp.drawn_out("tia_stretch", outside)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where moves come from, as many numbers a sample as there are segments.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("tia_stretch", batch.inputs)
        longest = self._magnitude * (images.shape[2] - 1) / self._segments
        moves = np.zeros((len(images), 2, self._segments + 1), dtype=np.complex128)
        cuts = generator.uniform(-longest, longest, size=(len(images), 1, self._segments - 1))
        moves[:, :, 1:-1] = cuts  # the same on the upper and the lower edge
        chosen = generator.random(len(images)) < self._probability
        return Batch(_text_warp.warped(images, chosen, moves, edge=self._edge), batch.targets)
