"""What a step does otherwise where several devices make it together, each with its share of the batch."""

import zlib
from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from expkit.api import Array, ConfigError, Team


class Together:
    """Makes the loss and the gradients of this device's share those of the whole batch.

    A weight without gradient (a part of the model that a batch did not use) has none afterwards if it has none on any
    device, so that the optimizer leaves it alone as it does on one device.

    Args:
        model: that is trained.
        loss: what is minimised; its method `divisor`, where it has one, says what its mean divides by.
        team: the devices.
    """

    def __init__(self, model: nn.Layer, loss: Any, team: Team) -> None:
        self._team = team
        self._trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
        self._weigh: Callable[[Array], float] = getattr(loss, "divisor", len)

    @paddle.no_grad()
    def mean(self, loss: Any, targets: Array) -> float:
        """Replace the gradients by their means over all devices, and return that of the loss.

        Args:
            loss: of this device's share.
            targets: of that.

        Raises:
            ConfigError: a gradient is sparse.
        """
        given = [parameter.grad for _, parameter in self._trainable]
        for (name, _), gradient in zip(self._trainable, given, strict=True):
            if gradient is not None and not gradient.is_dense():
                raise ConfigError(
                    f"trainer.devices={self._team.size}: the gradient of {name} is sparse, and several devices add up "
                    "dense ones only. Build the model with sparse=False, or use trainer.devices=1."
                )
        here = paddle.to_tensor([float(gradient is not None) for gradient in given], dtype=loss.dtype)
        dense = [
            paddle.zeros_like(parameter) if gradient is None else gradient
            for (_, parameter), gradient in zip(self._trainable, given, strict=True)
        ]
        value, present, *means = self._team.mean([loss, here, *dense], float(self._weigh(targets)))
        for (_, parameter), mean, anywhere in zip(self._trainable, means, present.tolist(), strict=True):
            if anywhere:
                parameter.grad = mean
        return float(value)


def digest(model: nn.Layer) -> str:
    """Return a text that is the same for the same trainable weights."""
    found = 0
    for parameter in model.parameters():
        if not parameter.stop_gradient:
            found = zlib.crc32(parameter.numpy().tobytes(), found)
    return f"{found:08x}"
