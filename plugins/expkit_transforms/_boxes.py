"""Boxes in images."""

import numpy as np

from expkit.api import Array


def inside(top: Array, bottom: Array, left: Array, right: Array, size: tuple[int, int]) -> Array:
    """Return which pixels are in each image's box.

    Args:
        top: [N] first row.
        bottom: [N] row after the last.
        left: [N] first column.
        right: [N] column after the last.
        size: rows and columns of an image.

    Returns:
        [N, H, W] bool.
    """
    rows, columns = (np.arange(length) for length in size)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])
    return in_rows[:, :, None] & in_columns[:, None, :]


def like(masks: Array, images: Array) -> Array:
    """Return masks [N, H, W] that broadcast with images [N, H, W] or [N, H, W, C]."""
    return masks[..., None] if images.ndim == 4 else masks
