"""Small stand-ins for what the framework would supply: parts for a learner, parameters, the length of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from expkit.api import DataSpec
from expkit.cpu_tuning import import_paddle

EPOCHS, STEPS_PER_EPOCH = 4, 5


def supplied(kind: str, spec: DataSpec | None) -> dict[str, Any]:
    """Return what the framework would supply to a component of a kind.

    Args:
        kind: such as "model".
        spec: of the data; kinds that are not told of it need none.
    """
    if kind == "optimizer":
        return {"parameters": import_paddle().nn.Linear(6, 1).parameters()}
    if kind == "schedule":
        directions = {"train/loss": False, "valid/loss": False}
        length = {"steps_per_epoch": STEPS_PER_EPOCH, "epochs": EPOCHS}
        return {"learning_rate": 0.1, **length, "higher_is_better": directions}
    if spec is None:
        return {}
    return {"parts": ToyParts(spec)} if kind == "learner" else {"spec": spec}


class ToyParts:
    """What a learner may ask for: a small network with dropout, Adam on a falling rate, no decay."""

    epochs, steps_per_epoch, seed, device, tune, to_static, training = 20, 1, 0, "cpu", False, False, True
    team = None

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def model(self) -> Any:
        """Build a network of one hidden layer, in the precision of the data."""
        nn = import_paddle().nn
        hidden = nn.Linear(math.prod(self.spec.input_shape), 8)
        layers = nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, self.spec.outputs))
        layers.to(dtype=self.spec.input_dtype)
        return layers

    def loss(self) -> Callable[..., Any]:
        """Return cross entropy or the mean of squares."""
        functional = import_paddle().nn.functional
        found: Callable[..., Any] = functional.cross_entropy if self.spec.is_classification else functional.mse_loss
        return found

    def regularizer(self) -> ToyParts:
        """Return what leaves every parameter alone."""
        return self

    def decay(self, name: str, shape: tuple[int, ...]) -> None:
        """Leave every parameter alone."""

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """Build Adam on a falling rate."""
        optimizer = import_paddle().optimizer
        rate = optimizer.lr.PolynomialDecay(0.02, decay_steps=self.epochs * self.steps_per_epoch, end_lr=0.002)
        return optimizer.Adam(rate, parameters=list(parameters))
