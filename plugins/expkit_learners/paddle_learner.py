"""The default learner: Paddle's dynamic graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.utils import unique_name

from expkit.api import Array, ConfigError, ExpkitError, LearnerState, Loss, Parts, StepResult, did_you_mean
from expkit_learners._finite import Watch
from expkit_learners._graph import write_graph
from expkit_learners._rates import scale_rate
from expkit_learners._scores import check_scores
from expkit_learners.fast_layers import speed_up


class PaddleLearner:
    """Trains a `paddle.nn.Layer` step by step in dynamic graph mode."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # Paddle says so at each training with batch normalisation; nobody can or need do anything about it.
        warnings.filterwarnings("ignore", "When training, we now always track global mean", UserWarning)
        # Its own layers ask for a place while they are traced, and it tells the user not to.
        warnings.filterwarnings("ignore", "Tensor do not have 'place' interface for pir graph mode", UserWarning)
        # Paddle names parameters by global counters (linear_0.w_0): a private generator makes the names of this
        # learner independent of what was built before it in the process.
        with unique_name.guard(_private_names()):
            self._model = parts.model()
        if not isinstance(self._model, nn.Layer):
            raise ConfigError(f"the model is a {type(self._model).__name__}; learner=paddle trains a paddle.nn.Layer.")
        self._regularize()
        self._loss = parts.loss()
        self._make_optimizer()
        # A traced graph keeps the stock layers: one of the faster ones asks for values, which no trace can answer.
        self._forward = paddle.jit.to_static(self._model.forward) if parts.to_static else self._model
        if parts.tune and parts.device == "cpu" and not parts.to_static:
            speed_up(self._model)
        self._watch = Watch(self._model)
        self._check_one_sample()

    @property
    def model(self) -> nn.Layer:
        """The layers that are trained, to look at."""
        return self._model

    @property
    def loss(self) -> Loss:
        """What is minimised."""
        return self._loss

    @property
    def learning_rate(self) -> float:
        """Rate that the next step will use."""
        return float(self._optimizer.get_lr())

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward, backward and one update.

        Raises:
            NotFiniteError: the loss or a gradient is not finite, and nothing has changed.
        """
        self._watch.before()
        self._model.train()
        outputs = self._forward(paddle.to_tensor(inputs))
        loss = self._loss(outputs, paddle.to_tensor(targets))
        loss.backward()
        value = float(loss)
        self._watch.check(value)
        with unique_name.guard(self._slot_names):  # the first step creates the named accumulators
            self._optimizer.step()
        self._optimizer.clear_grad()
        if self._schedule is not None and not self._by_metric:
            self._schedule.step()
        return StepResult(value, outputs.numpy())

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply all rates from now on; the state keeps it."""
        self._rate_factor *= factor
        scale_rate(self._optimizer, factor)

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Show this epoch's values to a rate that follows one of them.

        Raises:
            ConfigError: that one was not measured.
        """
        if not self._by_metric:
            return
        name = self._schedule.metric
        if name not in metrics:
            raise ConfigError(
                f"schedule.metric={name!r} is not measured.{did_you_mean(name, metrics)} Measured are "
                f"{', '.join(metrics)}."
            )
        self._schedule.step(float(metrics[name]))

    @paddle.no_grad()
    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward only, in evaluation mode."""
        self._model.eval()
        outputs = self._forward(paddle.to_tensor(inputs))
        loss = self._loss(outputs, paddle.to_tensor(targets))
        return StepResult(float(loss), outputs.numpy())

    @paddle.no_grad()
    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode."""
        self._model.eval()
        result: Array = self._forward(paddle.to_tensor(inputs)).numpy()
        return result

    def state_dict(self) -> LearnerState:
        """Return a copy of parameters, buffers, accumulators and the schedule's position."""
        model = {name: tensor.numpy().copy() for name, tensor in self._model.state_dict().items()}
        slots: dict[str, Array] = {}
        extra: dict[str, Any] = {"optimizer": type(self._optimizer).__name__}
        structured = {p.name: name for name, p in self._model.named_parameters()}
        for key, value in self._optimizer.state_dict().items():
            if isinstance(value, paddle.Tensor):
                slots[_structured_slot(key, structured)] = value.numpy().copy()
            elif key == "LR_Scheduler":
                extra["schedule"] = dict(value)
        if self._rate_factor != 1:
            extra["rate_factor"] = self._rate_factor
        return LearnerState(model, slots, extra)

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave; of a state without optimizer, take the model alone.

        Raises:
            ConfigError: the state belongs to another model or optimizer; names what differs.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self._model.state_dict().items()}
        given = {name: tuple(array.shape) for name, array in state.model.items()}
        if own != given:
            differ = [
                f"{name}: {_shown(given.get(name))} saved, {_shown(own.get(name))} here"
                for name in sorted({*own, *given})
                if own.get(name) != given.get(name)
            ]
            more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
            raise ConfigError(f"the saved weights belong to another model: {'; '.join(differ[:4])}{more}.")
        used = type(self._optimizer).__name__
        if state.extra.get("optimizer", used) != used:
            raise ConfigError(f"the saved state is that of {state.extra['optimizer']}, but the optimizer is {used}.")
        self._model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.model.items()})
        if not state.optimizer and not state.extra:
            return
        self._make_optimizer()  # free of what the former one remembers
        names = {name: p.name for name, p in self._model.named_parameters()}
        slots: dict[str, Any] = {}
        for key, array in state.optimizer.items():
            structured, _, slot = key.rpartition("/")
            slots[f"{names[structured]}_{slot}"] = paddle.to_tensor(array)
        if self._schedule is not None and "schedule" in state.extra:
            slots["LR_Scheduler"] = dict(state.extra["schedule"])
        self._optimizer.set_state_dict(slots)
        if "rate_factor" in state.extra:
            self.scale_learning_rate(float(state.extra["rate_factor"]))

    def summary(self) -> Mapping[str, float]:
        """Return the number of trainable parameters."""
        return {"parameters": sum(int(np.prod(p.shape)) for p in self._model.parameters() if not p.stop_gradient)}

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write `model.json` and `model.pdiparams` with `paddle.jit.save`; return what `paddle.jit.load` reads back.

        The graph is traced from a fresh model in evaluation mode, free of the changes that speed up training, with a
        dynamic batch size.

        Raises:
            ExportError: Paddle cannot turn the model's code into a graph, or cannot read back what it wrote.
        """
        with unique_name.guard():
            model = self._parts.model()
        model.set_state_dict(self._model.state_dict())
        return write_graph(model, folder, self._parts.spec)

    def _make_optimizer(self) -> None:
        trainable = [p for p in self._model.parameters() if not p.stop_gradient]
        if not trainable:
            raise ConfigError(f"model {type(self._model).__name__} has no parameter to train.")
        self._slot_names, self._rate_factor = _private_names(), 1.0
        self._optimizer = self._parts.optimizer(trainable)
        rate = self._optimizer._learning_rate
        self._schedule = rate if isinstance(rate, paddle.optimizer.lr.LRScheduler) else None
        self._by_metric = isinstance(rate, paddle.optimizer.lr.ReduceOnPlateau)
        if self._by_metric and not getattr(rate, "metric", ""):
            raise ConfigError("the schedule is a ReduceOnPlateau without an attribute `metric`, such as 'valid/loss'.")

    def _regularize(self) -> None:
        regularizer = self._parts.regularizer()
        decays = {}
        for name, parameter in self._model.named_parameters():
            if not parameter.stop_gradient:
                decays[name] = parameter.regularizer = regularizer.decay(name, tuple(parameter.shape))
        pattern = getattr(regularizer, "pattern", "")
        if pattern and not any(decays.values()):
            raise ConfigError(f"regularizer.pattern={pattern!r} fits no parameter. The model has {', '.join(decays)}.")
        for pattern in getattr(regularizer, "patterns", ()):
            if not any(fnmatchcase(name, pattern) for name in decays):
                raise ConfigError(
                    f"the regularizer's pattern {pattern!r} fits no parameter. The model has {', '.join(decays)}."
                )

    def _check_one_sample(self) -> None:
        """Try the model's output shape on zeros, so that a misfit is an error before anything is written."""
        spec = self._parts.spec
        state = paddle.get_rng_state()
        self._model.eval()
        wanted = [2, *spec.input_shape]
        try:
            with paddle.no_grad():
                out = self._forward(paddle.zeros(wanted, spec.input_dtype))
        except ExpkitError:
            raise
        except Exception as error:
            what = next(iter(str(error).strip().splitlines()), "")
            double = " Paddle's layers are float32: set dataset.precision=float32." * (spec.input_dtype == "float64")
            static = " It may be the tracing that fails: try trainer.to_static=false." if self._parts.to_static else ""
            raise ConfigError(
                f"model {type(self._model).__name__} fails on a batch of 2 inputs {wanted} {spec.input_dtype}: "
                f"{type(error).__name__}: {what[:500]} (EXPKIT_DEBUG=1 shows where).{double}{static}"
            ) from error
        paddle.set_rng_state(state)
        shape = tuple(out.shape) if isinstance(out, paddle.Tensor) else None
        if shape != (2, spec.outputs):
            answer = f"a {type(out).__name__}" if shape is None else list(shape)
            raise ConfigError(
                f"model {type(self._model).__name__} answers {answer} for a batch of 2; "
                f"dataset {spec.name!r} needs [2, {spec.outputs}]."
            )
        check_scores(self._model, self._loss, spec, out.numpy())


def _private_names() -> Any:
    """Return a generator of names that nothing else in the process uses."""
    before = unique_name.switch()
    private, _ = unique_name.switch(*before)
    return private


def _shown(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _structured_slot(key: str, structured: Mapping[str, str]) -> str:
    """Turn Paddle's "linear_0.w_0_moment1_0" into "head.weight/moment1_0"."""
    owner = max((name for name in structured if key.startswith(f"{name}_")), key=len)
    return f"{structured[owner]}/{key[len(owner) + 1 :]}"
