"""Mean absolute error."""

import paddle

from expkit.api import DataSpec

from ._values import check_target, differences


class AbsoluteError:
    """L1 loss: absolute difference of outputs and targets, mean over batch and outputs (Bishop 2006, sec. 1.5.5).

    What it is smallest for is the median of the targets, not their mean: single wild targets hardly matter. The
    gradient has one size however small the error, so that a falling learning rate helps at the end.

    Args:
        spec: supplied; targets must be values, or the model must have one output.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> loss = AbsoluteError(spec)  # doctest: +SKIP
        >>> loss(paddle.to_tensor([[1.0], [2.0]]), paddle.to_tensor([[0.0], [4.0]])).item()  # doctest: +SKIP
        1.5
    """

    def __init__(self, spec: DataSpec):
        check_target("absolute_error", spec)

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch and its outputs.

        Args:
            outputs: [N, K] float32.
            targets: [N, K] float32; or classes [N] int64 when K is 1.

        Raises:
            ConfigError: the shapes differ; nothing is broadcast.
        """
        return differences("absolute_error", outputs, targets).abs().mean()
