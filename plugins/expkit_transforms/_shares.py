"""Targets of mixed samples: shares of classes."""

import numpy as np

from expkit.api import Array


def mixed(targets: Array, sources: Array, weights: Array, classes: int) -> Array:
    """Return the shares of classes in samples that are mixed of others.

    Args:
        targets: [N] int64 classes, or [N, K] shares of an earlier mixture.
        sources: [N, M] int, of which samples each is mixed.
        weights: [N, M], how much of each; they add up to 1 in each row.
        classes: K.

    Returns:
        [N, K] float32; rows add up to 1.
    """
    shares = np.eye(classes)[targets] if targets.ndim == 1 else targets
    summed: Array = (weights[..., None] * shares[sources]).sum(axis=1).astype(np.float32)
    return summed
