"""What the warps of text images share: a frame of control points, and images that follow it when it is moved."""

import numpy as np

from expkit.api import Array, ConfigError

from . import _least_squares, _sampling


def checked_segments(name: str, segments: int, width: int, least: int = 1) -> int:
    """Return a number of segments that images can be cut into.

    Raises:
        ConfigError: there are too few, or they would be narrower than 2 pixels.
    """
    if not least <= segments <= width // 2:
        raise ConfigError(
            f"transforms.{name}.segments={segments}: must be from {least} to {width // 2}, "
            f"as images are {width} pixels wide."
        )
    return segments


def drawn_out(name: str, outside: str) -> bool:
    """Return whether the border of images goes on outside of them, instead of black.

    Raises:
        ConfigError: the word is unknown.
    """
    if outside not in ("black", "edge"):
        raise ConfigError(f"transforms.{name}.outside={outside!r} is unknown; choose black or edge.")
    return outside == "edge"


def warped(images: Array, chosen: Array, moves: Array, *, edge: bool) -> Array:
    """Return images that follow the moves of points on their upper and lower edge.

    Args:
        images: [N, H, W] or [N, H, W, C] uint8.
        chosen: [N] bool, which images are deformed.
        moves: [N, 2, S + 1] complex pixels (x + iy), of the ends of S segments on the upper and the lower edge.
        edge: outside, the nearest pixel goes on; else it is black.
    """
    height, width = images.shape[1:3]
    segments = moves.shape[2] - 1
    upper = np.arange(segments + 1) * ((width - 1) / segments) + 0j
    points = np.concatenate([upper, upper + 1j * (height - 1)])
    moved = points + moves[chosen].reshape(-1, len(points))
    rows, columns = _least_squares.origins(points, moved, (height, width))
    out = images.copy()
    out[chosen] = _sampling.bilinear(images[chosen], rows, columns, edge=edge)
    return out


def reach(images: Array, segments: int) -> float:
    """Return the pixels that a magnitude of 1 stands for: a segment's width, or the height where that is less."""
    height, width = images.shape[1:3]
    return float(min((width - 1) / segments, height - 1))
