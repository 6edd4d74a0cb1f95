"""Deformation by moving least squares (Schaefer, McPhail and Warren 2006, sec. 2.2: similarities).

A point of the plane is a complex number x + iy, so that z -> a z + b is a similarity: it turns, scales and moves.
"""

import numpy as np

from expkit.api import Array

STEP = 4
"""Pixels between the nodes at which the deformation is computed; between them it is interpolated linearly."""


def origins(points: Array, moved: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return where each pixel of deformed images comes from.

    Args:
        points: [P] complex, the control points in the images as they are.
        moved: [N, P] complex, where they go, in each image.
        size: rows and columns of an image.

    Returns:
        Rows and columns, both [N, H, W] float32.
    """
    rows, columns = (np.arange(0, length - 1 + STEP, STEP) for length in size)
    nodes = (columns + 1j * rows[:, None]).ravel()
    found = _similarities(nodes, moved, points).reshape(len(moved), len(rows), len(columns))
    return _between(found.imag, size), _between(found.real, size)


def _similarities(places: Array, moved: Array, points: Array) -> Array:
    """Map each place by the similarity that best takes `moved` to `points`, near ones counting most.

    With weights 1 / distance^2 that add up to 1, and p, q for `moved` and `points`, eq. 5 to 7 become
    a = (sum(w p' q) - p*' q*) / (sum(w |p|^2) - |p*|^2), with p' conjugate and p* = sum(w p); b = q* - a p*.
    """
    right = places.real[:, None] - moved.real[:, None, :]
    down = places.imag[:, None] - moved.imag[:, None, :]
    weights = 1 / (right**2 + down**2 + 1e-6)  # the last term only keeps it finite
    weights /= weights.sum(axis=2, keepdims=True)
    terms = np.stack(np.broadcast_arrays(moved, points, moved.conj() * points, moved.conj() * moved), axis=2)
    # One product of real matrices [G, P] x [P, 8], as a complex number is a pair of real ones.
    sums = (weights @ terms.view(np.float64)).view(np.complex128)
    p, q, turn, spread = np.moveaxis(sums, 2, 0)
    turn -= p.conj() * q
    spread -= p.conj() * p
    mapped: Array = q + (places - p) * turn / spread
    return mapped


def _between(nodes: Array, size: tuple[int, int]) -> Array:
    """Interpolate [N, rows, columns] values at nodes to every pixel."""
    for axis, length in enumerate(size, start=1):
        whole, rest = np.divmod(np.arange(length), STEP)
        share = np.expand_dims(rest / STEP, (0, 3 - axis))
        first, second = np.take(nodes, whole, axis), np.take(nodes, whole + (rest > 0), axis)
        nodes = first + (second - first) * share
    return nodes.astype(np.float32)
