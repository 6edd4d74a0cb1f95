"""A learner, whose step is another one than that of learner=paddle."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import paddle
from expkit.api import Array, ConfigError, LearnerState, NotFiniteError, Parts, StepResult
from paddle import Tensor
from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau
from paddle.utils import unique_name


class SharpnessAware:
    """Steps that look for flat minima: sharpness-aware minimization (Foret et al. 2021, sec. 2).

    A step climbs from the weights w to w + radius * g / |g|, where the loss is about the highest nearby, takes the
    gradient there, goes back to w, and has the optimizer use that gradient. It computes twice what others compute.

    Args:
        parts: supplied; model, loss, regularizer, optimizer and schedule are those of the config.
        radius: how far away the gradient is taken, above 0.

    Raises:
        ConfigError: the radius is no number above 0, or a graph is to be traced.
    """

    def __init__(self, parts: Parts, *, radius: float = 0.05):
        if not (math.isfinite(radius) and radius > 0):
            raise ConfigError(f"learner.radius={radius}: must be a number above 0.")
        if parts.to_static:
            raise ConfigError("trainer.to_static=true: this learner traces no graph. Set it to false.")
        self._parts, self._radius = parts, radius
        self.model, self.loss = parts.model(), parts.loss()  # callbacks look at them
        self._trained = {name: p for name, p in self.model.named_parameters() if not p.stop_gradient}
        regularizer = parts.regularizer()
        for name, parameter in self._trained.items():
            parameter.regularizer = regularizer.decay(name, tuple(parameter.shape))
        self._make_optimizer()

    @property
    def learning_rate(self) -> float:
        """Rate that the next step will use."""
        return float(self._optimizer.get_lr())

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Climb, take the gradient there, and update from where it was.

        Raises:
            NotFiniteError: the loss or a gradient is not finite, and nothing has changed.
        """
        self.model.train()
        batch = paddle.to_tensor(inputs), paddle.to_tensor(targets)
        before = self._copy(self.model.state_dict())
        try:
            outputs, loss, norm = self._backward(*batch)
            seen = self._copy(dict(self.model.named_buffers()))  # running statistics, of the weights as they are
            self._climb(self._radius / max(norm, 1e-12))
            self._optimizer.clear_grad()
            self._backward(*batch)
        except NotFiniteError:
            self.model.set_state_dict(before)
            self._optimizer.clear_grad()
            raise
        self.model.set_state_dict({name: seen.get(name, tensor) for name, tensor in before.items()})
        with unique_name.guard():  # what it remembers is called alike, however many optimizers there were before
            self._optimizer.step()
        self._optimizer.clear_grad()
        if self._schedule is not None and not isinstance(self._schedule, ReduceOnPlateau):
            self._schedule.step()
        return StepResult(loss, outputs.numpy())

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Show a rate that follows a metric, as of schedule=reduce_on_plateau, what that was."""
        if isinstance(self._schedule, ReduceOnPlateau):
            name = self._schedule.metric
            if name not in metrics:
                raise ConfigError(f"schedule.metric={name!r} is not measured. Measured are {', '.join(metrics)}.")
            self._schedule.step(metrics[name])

    @paddle.no_grad()
    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward only, in evaluation mode."""
        self.model.eval()
        outputs = self.model(paddle.to_tensor(inputs))
        return StepResult(float(self.loss(outputs, paddle.to_tensor(targets))), outputs.numpy())

    @paddle.no_grad()
    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode."""
        self.model.eval()
        return self.model(paddle.to_tensor(inputs)).numpy()

    def state_dict(self) -> LearnerState:
        """Return a copy of weights, buffers, what the optimizer remembers, and where the schedule is."""
        weights = {name: tensor.numpy().copy() for name, tensor in self.model.state_dict().items()}
        remembered, slots = self._optimizer.state_dict(), {}
        for name, parameter in self._trained.items():
            begin = f"{parameter.name}_"  # Paddle counts names, "linear_0.w_0": another process may count otherwise
            found = {key.removeprefix(begin): tensor for key, tensor in remembered.items() if key.startswith(begin)}
            slots.update({f"{name}/{slot}": tensor.numpy().copy() for slot, tensor in found.items()})
        schedule = dict(remembered.get("LR_Scheduler", {}))
        return LearnerState(weights, slots, {"optimizer": type(self._optimizer).__name__, "schedule": schedule})

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave; of a state without optimizer, take the model alone.

        Raises:
            ConfigError: the state is that of another model or optimizer.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        other = [name for name, array in state.model.items() if shapes.get(name) != array.shape]
        if other or len(shapes) != len(state.model):
            raise ConfigError(f"the saved weights belong to another model: {', '.join(other) or 'some are missing'}.")
        used = type(self._optimizer).__name__
        if state.extra.get("optimizer", used) != used:
            raise ConfigError(f"the saved state is that of {state.extra['optimizer']}, but the optimizer is {used}.")
        self.model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.model.items()})
        if not state.extra:
            return
        self._make_optimizer()  # one that remembers nothing else
        remembered: dict[str, Any] = {}
        for key, array in state.optimizer.items():
            name, _, slot = key.rpartition("/")
            remembered[f"{self._trained[name].name}_{slot}"] = paddle.to_tensor(array)
        if state.extra["schedule"]:
            remembered["LR_Scheduler"] = dict(state.extra["schedule"])
        self._optimizer.set_state_dict(remembered)

    def summary(self) -> Mapping[str, float]:
        """Return the number of trainable parameters."""
        return {"parameters": sum(parameter.size for parameter in self._trained.values())}

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write `model.json` and `model.pdiparams`; return what predicts with what was written."""
        model = self._parts.model()  # to trace a model changes it
        model.set_state_dict(self.model.state_dict())
        model.eval()
        spec = self._parts.spec
        signature = paddle.static.InputSpec([None, *spec.input_shape], spec.input_dtype, name="input")
        paddle.jit.save(model, str(folder / "model"), input_spec=[signature])
        written = paddle.jit.load(str(folder / "model"))
        written.eval()

        def predict(inputs: Array) -> Array:
            with paddle.no_grad():
                return written(paddle.to_tensor(inputs)).numpy()

        return predict

    def _make_optimizer(self) -> None:
        self._optimizer = self._parts.optimizer(self._trained.values())
        rate = self._optimizer._learning_rate
        self._schedule = rate if isinstance(rate, LRScheduler) else None

    def _backward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, float, float]:
        """Return outputs, loss and length of the gradient, which the parameters have then."""
        outputs = self.model(inputs)
        loss = self.loss(outputs, targets)
        loss.backward()
        value = float(loss)
        if not math.isfinite(value):
            raise NotFiniteError(f"the loss is {value}")
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in self._trained.values() if p.grad is not None))
        if not math.isfinite(norm):
            raise NotFiniteError("the gradient is not finite", kind="gradient")
        return outputs, value, norm

    @paddle.no_grad()
    def _climb(self, factor: float) -> None:
        for parameter in self._trained.values():
            if parameter.grad is not None:
                parameter.set_value(parameter + factor * parameter.grad)

    def _copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}
