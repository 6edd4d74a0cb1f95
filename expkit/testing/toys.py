"""Small stand-ins for what the framework would supply: parts for a learner, parameters, the length of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from expkit.api import Array, DataSpec, LearnerState, StepResult
from expkit.paddle_import import import_paddle

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
    team, engine = None, "paddle"

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


class ToyLearner:
    """Trains the toy network with Paddle: what callbacks watch.

    Args:
        parts: of a run.
    """

    def __init__(self, parts: ToyParts) -> None:
        self.model, self.loss = parts.model(), parts.loss()
        self._optimizer = import_paddle().optimizer.SGD(0.05, parameters=self.model.parameters())

    @property
    def learning_rate(self) -> float:
        """Rate of every step."""
        return 0.05

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Make one step."""
        self.model.train()
        outputs, loss = self._forward(inputs, targets)
        loss.backward()
        self._optimizer.step()
        self._optimizer.clear_grad()
        return StepResult(float(loss), outputs.numpy())

    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Measure one batch."""
        self.model.eval()
        with import_paddle().no_grad():
            outputs, loss = self._forward(inputs, targets)
        return StepResult(float(loss), outputs.numpy())

    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode."""
        paddle = import_paddle()

        self.model.eval()
        with paddle.no_grad():
            found: Array = self.model(paddle.to_tensor(inputs)).numpy()
        return found

    def state_dict(self) -> LearnerState:
        """Return a copy of the weights."""
        return LearnerState({name: tensor.numpy().copy() for name, tensor in self.model.state_dict().items()}, {})

    def load_state_dict(self, state: LearnerState) -> None:
        """Take weights."""
        self.model.set_state_dict({name: import_paddle().to_tensor(array) for name, array in state.model.items()})

    def summary(self) -> Mapping[str, float]:
        """Return nothing of interest."""
        return {}

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write nothing; a toy is never exported."""
        raise NotImplementedError

    def _forward(self, inputs: Array, targets: Array) -> tuple[Any, Any]:
        paddle = import_paddle()

        outputs = self.model(paddle.to_tensor(inputs))
        return outputs, self.loss(outputs, paddle.to_tensor(targets))
