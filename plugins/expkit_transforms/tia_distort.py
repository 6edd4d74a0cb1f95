"""Warp of text images: distortion."""

from typing import Literal

import numpy as np

from expkit.api import Array, Batch, DataSpec

from . import _checks, _text_warp


class TiaDistort:
    """Distort text as on an uneven surface: points on the upper and lower edge move at random (Luo et al. 2020).

    Text Image Augmentation, as PaddleOCR has it for text recognition: the edges are cut into segments, corners move
    inwards, the points between them anywhere, and the image follows by moving least squares.

    Args:
        spec: supplied; inputs must be images.
        segments: parts into which the width is cut; more make finer waves.
        magnitude: longest move of a corner, in widths of a segment, 0 to 0.5 (PaddleOCR: 1/3); half of it elsewhere.
        probability: share of the images that are distorted.
        outside: what comes in where the frame shrinks: black, or edge for the pixels at the border, drawn out.

    Raises:
        ConfigError: the inputs are no images, or an option is out of range.

    Example:
        >>> wavy = TiaDistort(spec, segments=4)(batch, np.random.default_rng(0))  # doctest: +SKIP
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
        _, width = _checks.image_spec("tia_distort", spec)
        self._segments = _text_warp.checked_segments("tia_distort", segments, width)
        self._magnitude = _checks.between("tia_distort.magnitude", magnitude, 0, 0.5)
        self._probability = _checks.between("tia_distort.probability", probability, 0, 1)
        self._edge = _text_warp.drawn_out("tia_distort", outside)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: where moves come from, four numbers a sample and segment, and five more.

        Raises:
            ConfigError: the raw inputs are no uint8 images.
        """
        images = _checks.pixels("tia_distort", batch.inputs)
        moves = _moves(generator.random((2, len(images), 2, self._segments + 1)))
        chosen = generator.random(len(images)) < self._probability
        moves *= self._magnitude * _text_warp.reach(images, self._segments)
        return Batch(_text_warp.warped(images, chosen, moves, edge=self._edge), batch.targets)


def _moves(numbers: Array) -> Array:
    """Turn numbers from 0 to 1 [2, N, 2, S + 1] into moves [N, 2, S + 1]: of corners by up to 1, of others 0.5."""
    right, down = numbers - 0.5
    ends = [0, -1]
    right[..., ends] = numbers[0][..., ends] * [1, -1]
    down[..., ends] = numbers[1][..., ends] * [[1], [-1]]
    moves: Array = right + 1j * down
    return moves
