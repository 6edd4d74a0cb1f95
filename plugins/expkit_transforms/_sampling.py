"""Images read between their pixels.

Rows and columns are counted in pixels, and the centre of the first pixel is at 0. Everything is plain arithmetic,
element by element, so that results are the same on every machine and with every number of threads.
"""

import math

import numpy as np

from expkit.api import Array


def bilinear(images: Array, rows: Array, columns: Array, *, edge: bool = False) -> Array:
    """Return what images show at real positions, interpolated linearly between the four nearest pixels.

    Args:
        images: [N, H, W] or [N, H, W, C] uint8.
        rows: where to read, [N, H, W] float32.
        columns: likewise.
        edge: outside, the nearest pixel goes on; else black comes in within one pixel.

    Returns:
        uint8 of the images' shape.
    """
    count, height, width = images.shape[:3]
    padded = np.zeros((count, height + 2, width + 2, *images.shape[3:]), dtype=np.uint8)
    padded[:, 1:-1, 1:-1] = images
    row, down = _split(rows, height, edge)
    column, right = _split(columns, width, edge)
    corner = (np.arange(count)[:, None, None] * (height + 2) + row) * (width + 2) + column
    out = np.empty_like(images)
    # A channel at a time: NumPy would be three times slower with an innermost axis of length 3.
    for channel in np.ndindex(images.shape[3:]):
        plane = padded[(..., *channel)].ravel()
        upper = _along(plane, corner, right)
        lower = _along(plane, corner + (width + 2), right)
        lower -= upper
        lower *= down
        lower += upper
        out[(..., *channel)] = np.rint(lower, out=lower)
    return out


def _split(positions: Array, size: int, edge: bool) -> tuple[Array, Array]:
    """Return the whole pixel before each position, in the padded image, and the share of the way to the next."""
    low, high = (0, size - 1) if edge else (-1, size)
    inside = np.clip(positions, low, high) + 1
    whole = np.minimum(inside.astype(np.intp), size)
    return whole, (inside - whole).astype(np.float32)


def _along(plane: Array, index: Array, share: Array) -> Array:
    """Interpolate between a pixel and the next one in its row."""
    first = np.take(plane, index).astype(np.float32)
    second = np.take(plane, index + 1).astype(np.float32)
    second -= first
    second *= share
    second += first
    return second


def rows_at(images: Array, positions: Array, *, sources: Array | None = None, edge: bool = False) -> Array:
    """Return rows of images, each the mean of T readings that are interpolated linearly between the nearest two rows.

    Args:
        images: [N, H, ...] uint8 or float32; for columns, with the axes 1 and 2 swapped.
        positions: where to read, [M, h, T].
        sources: image to read from, broadcast to [M, h]; the first from the first, and so on, when left out.
        edge: outside of the image, its border goes on; else it is black there, so that the border stays sharp.

    Returns:
        [M, h, ...] float32.
    """
    count, size = images.shape[:2]
    first = (np.arange(count)[:, None] if sources is None else sources) * size
    flat = images.reshape(count * size, math.prod(images.shape[2:]))
    shown = np.where(edge | (np.abs(positions - (size - 1) / 2) <= size / 2), 1 / positions.shape[2], 0)
    positions = np.clip(positions, 0, size - 1)
    before = np.floor(positions)
    share = positions - before
    total = np.zeros((*positions.shape[:2], flat.shape[1]), dtype=np.float32)
    for rows, weights in ((before, (1 - share) * shown), (np.minimum(before + 1, size - 1), share * shown)):
        rows, weights = rows.astype(np.intp), weights.astype(np.float32)
        for reading in range(positions.shape[2]):
            part = np.take(flat, first + rows[..., reading], axis=0)
            total += part * weights[..., reading, None]
    return total.reshape(*positions.shape[:2], *images.shape[2:])


def halves(size: int) -> Array:
    """Return the centres of the two halves of each pixel, [size, 2], from the image's edge: 0.25, 0.75; 1.25, 1.75; ...

    To read an image twice a pixel keeps lines from falling between the places that are read when it is made smaller,
    down to about a third.
    """
    centres: Array = np.arange(size)[:, None] + np.array([0.25, 0.75])
    return centres


def as_pixels(values: Array) -> Array:
    """Round interpolated values in 0..255 to uint8."""
    return np.rint(values).astype(np.uint8)
