"""Mean squared error."""

import paddle

from expkit.api import DataSpec

from ._values import check_target, differences


class SquaredError:
    """Squared difference of outputs and targets, mean over batch and outputs (Bishop 2006, sec. 3.1.1).

    Targets are values [N, K]. Classes [N] are taken as numbers when the model has a single output.

    Args:
        spec: supplied; targets must be values, or the model must have one output.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> loss = SquaredError(spec)  # doctest: +SKIP
        >>> loss(paddle.to_tensor([[1.0], [2.0]]), paddle.to_tensor([[0.0], [4.0]])).item()  # doctest: +SKIP
        2.5
    """

    def __init__(self, spec: DataSpec):
        check_target("squared_error", spec)

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch and its outputs.

        Args:
            outputs: [N, K] float32.
            targets: [N, K] float32; or classes [N] int64 when K is 1.

        Raises:
            ConfigError: the shapes differ; nothing is broadcast.
        """
        return differences("squared_error", outputs, targets).square().mean()
