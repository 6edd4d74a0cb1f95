"""L2 on weights only."""

import math

from expkit.api import ConfigError
from paddle.regularizer import L2Decay


class WeightsOnly:
    """L2 on weights, and nothing on biases and on what scales a norm (He et al. 2019, sec. 3.1).

    It adds coefficient * w to the gradient of each parameter of two dimensions or more.

    Args:
        coefficient: strength of the decay, above 0.

    Raises:
        ConfigError: the coefficient is no number above 0.
    """

    def __init__(self, *, coefficient: float = 1e-4):
        if not (math.isfinite(coefficient) and coefficient > 0):
            raise ConfigError(f"regularizer.coefficient={coefficient}: must be a number above 0.")
        self._decay = L2Decay(coefficient)

    def decay(self, name: str, shape: tuple[int, ...]) -> L2Decay | None:
        """Return the decay of this parameter, or None to leave it alone."""
        return self._decay if len(shape) > 1 else None
