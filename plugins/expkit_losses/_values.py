"""What the losses of regression share: which targets they take, and in which shapes."""

import paddle

from expkit.api import ConfigError, DataSpec


def check_target(loss: str, spec: DataSpec) -> None:
    """Refuse a classification with several outputs.

    Raises:
        ConfigError: the targets are classes.
    """
    if spec.is_classification and spec.outputs != 1:
        raise ConfigError(
            f"loss={loss} needs numbers to predict, but the targets of {spec.name} are "
            f"{spec.outputs} classes. Choose loss=cross_entropy."
        )


def differences(loss: str, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """Return outputs minus targets [N, K].

    Args:
        loss: its name, for messages.
        outputs: [N, K] float32.
        targets: [N, K] float32; or classes [N] int64 when K is 1, which are taken as numbers.

    Raises:
        ConfigError: the shapes differ; nothing is broadcast.
    """
    shape, given = outputs.shape, targets.shape  # of all that can be asked, what Paddle answers the fastest
    if len(given) == 1 and shape[-1:] == [1] and targets.dtype in (paddle.int64, paddle.int32):
        targets = targets.unsqueeze(1).astype(outputs.dtype)
        given = targets.shape
    if len(shape) != 2 or shape != given:
        raise ConfigError(
            f"loss={loss} needs outputs and targets of one shape [N, K], but the model answered "
            f"{list(shape)} to targets {list(given)}."
        )
    return outputs - targets
