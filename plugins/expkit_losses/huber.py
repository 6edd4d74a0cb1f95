"""The Huber loss."""

import math

import paddle

from expkit.api import ConfigError, DataSpec

from ._values import check_target, differences


class Huber:
    """Half the square of a small error, and a straight line beyond `delta` (Huber 1964), mean over batch and outputs.

    An error e costs e ** 2 / 2 up to delta, and delta * (abs(e) - delta / 2) above. With delta 1 it is the smooth L1
    loss (Girshick 2015, eq. 3); in general, smooth L1 with beta is Huber with delta = beta, divided by beta.

    Args:
        spec: supplied; targets must be values, or the model must have one output.
        delta: size of an error from which on it counts as an outlier, in normalised numbers; above 0.

    Raises:
        ConfigError: the targets are classes; delta is not above 0.

    Example:
        >>> loss = Huber(spec, delta=1.0)  # doctest: +SKIP
        >>> loss(paddle.to_tensor([[0.5], [3.0]]), paddle.to_tensor([[0.0], [0.0]])).item()  # doctest: +SKIP
        1.3125
    """

    def __init__(self, spec: DataSpec, *, delta: float = 1.0):
        check_target("huber", spec)
        if not 0.0 < delta < math.inf:
            raise ConfigError(
                f"loss.delta={delta}: must be a number above 0. With loss=squared_error, no error counts as an outlier."
            )
        self._delta = delta

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch and its outputs.

        Args:
            outputs: [N, K] float32.
            targets: [N, K] float32; or classes [N] int64 when K is 1.

        Raises:
            ConfigError: the shapes differ; nothing is broadcast.
        """
        size = differences("huber", outputs, targets).abs()
        inner = size.clip(max=self._delta)
        return (inner * (size - 0.5 * inner)).mean()
