"""Mean squared error."""

import paddle

from expkit.api import ConfigError, DataSpec


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
        if spec.is_classification and spec.outputs != 1:
            raise ConfigError(
                f"loss=squared_error needs numbers to predict, but the targets of {spec.name} are "
                f"{spec.outputs} classes. Choose loss=cross_entropy."
            )

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch and its outputs.

        Args:
            outputs: [N, K] float32.
            targets: [N, K] float32; or classes [N] int64 when K is 1.

        Raises:
            ConfigError: the shapes differ; nothing is broadcast.
        """
        if targets.ndim == 1 and outputs.shape[-1] == 1 and targets.dtype in (paddle.int64, paddle.int32):
            targets = targets.unsqueeze(1).astype(outputs.dtype)
        if outputs.ndim != 2 or outputs.shape != targets.shape:
            raise ConfigError(
                f"loss=squared_error needs outputs and targets of one shape [N, K], but the model answered "
                f"{list(outputs.shape)} to targets {list(targets.shape)}."
            )
        return (outputs - targets).square().mean()
