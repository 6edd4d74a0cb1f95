"""The default learner: Paddle's dynamic graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
import paddle
from paddle import nn
from paddle.utils import unique_name

from expkit.api import Array, ConfigError, ExpkitError, LearnerState, Loss, Parts, StepResult, did_you_mean
from expkit_learners import _amp, _calls, _slots
from expkit_learners._ema import SLOT, Average
from expkit_learners._finite import Watch
from expkit_learners._fit import check_loss, check_options, check_weights, is_whole
from expkit_learners._graph import write_graph
from expkit_learners._onednn import Engine
from expkit_learners._parallel import Together, digest
from expkit_learners._rates import scale_rate
from expkit_learners._scores import check_scores
from expkit_learners._update import Update
from expkit_learners.fast_layers import speed_up


class PaddleLearner:
    """Trains a `paddle.nn.Layer` step by step in dynamic graph mode.

    With `ema`, an exponential moving average of the weights (and of running statistics) is kept beside them. Training
    goes on with the raw weights; validation, test, predictions and the export use the average. Callbacks that look into
    the model see the raw weights.

    With `amp`, matrix products and convolutions of training steps run in 16 bits on a GPU that can; weights, loss,
    measuring and the export stay in float32. With float16 the loss is scaled up, and a step whose scaled gradients
    overflow is left out: `amp/overflows` counts them.

    On several devices (`trainer.devices`), each computes its share of a batch, and all make the same update.

    Args:
        parts: supplied.
        ema: share of the averaged weights that a step keeps, such as 0.999; null measures the raw weights.
        ema_warmup: keep less in the first updates: update t, from 0, keeps min(ema, (1 + t) / (10 + t)).
        amp: none, bfloat16 or float16 (with a scaled loss); on a GPU only.

    Raises:
        ConfigError: an option is out of range, or Paddle would ignore it; the parts do not fit together.

    Example:
        >>> learner = PaddleLearner(parts, ema=0.999)  # doctest: +SKIP
        >>> learner.train_step(inputs, targets).loss  # doctest: +SKIP
        2.3025...
    """

    def __init__(
        self,
        parts: Parts,
        *,
        ema: float | None = None,
        ema_warmup: bool = True,
        amp: Literal["none", "bfloat16", "float16"] = "none",
    ) -> None:
        self._parts, self._ema = parts, ema
        # Paddle says so at each training with batch normalisation; nobody can or need do anything about it.
        warnings.filterwarnings("ignore", "When training, we now always track global mean", UserWarning)
        # Its own layers ask for a place while they are traced, and it tells the user not to.
        warnings.filterwarnings("ignore", "Tensor do not have 'place' interface for pir graph mode", UserWarning)
        self._tensor = _calls.cpu_tensor if parts.tune and parts.device == "cpu" else paddle.to_tensor
        self._model = self._build()
        self._regularize()
        self._loss = parts.loss()
        self._make_optimizer()
        self._precision = _amp.Precision()
        if amp != "none" and parts.training:  # to measure weights, no device needs to know it
            self._precision = _amp.choose(amp, self._model, to_static=parts.to_static)
        self._average = None if ema is None else Average(self._model, self._build, decay=ema, warmup=ema_warmup)
        self._engine = self._chosen_engine()
        self._forward = self._made_fast(self._model)
        self._measured, self._measure = self._model, self._forward
        if self._average is not None:
            self._measured, self._measure = self._average.model, self._made_fast(self._average.model)
        self._watch = Watch(self._model)
        self._loss_is_one = False
        team = parts.team
        self._together = None if team is None else Together(self._model, self._loss, team)
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
        if not self._model.training:  # to say so to every layer anew takes long beside a small step
            self._model.train()
        with self._precision.cast():
            outputs = self._forward(self._tensor(inputs))
        outputs = self._precision.widen(outputs)
        loss = self._loss(outputs, self._tensor(targets))
        if not self._loss_is_one:  # to ask Paddle for a size takes long beside a small step
            check_loss(self._loss, loss)
            self._loss_is_one = True
        self._precision.backward(loss)
        value = loss.item() if self._together is None else self._together.mean(loss, targets)
        self._watch.check(value, gradients=not self._precision.forgives)
        usable = self._precision.settle(self._model)
        if usable:
            self._update()
            if self._average is not None:
                self._average.update()
        self._update.clear()
        if self._schedule is not None and not self._by_metric:
            self._schedule.step()
        return StepResult(value, outputs.numpy(), skipped=not usable)

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
        """Run forward only, in evaluation mode, with the averaged weights if there are any."""
        self._measured.eval()
        outputs = self._measure(self._tensor(inputs))
        loss = self._loss(outputs, self._tensor(targets))
        return StepResult(float(loss), outputs.numpy())

    @paddle.no_grad()
    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode, with the averaged weights if there are any."""
        self._measured.eval()
        result: Array = self._measure(paddle.to_tensor(inputs)).numpy()
        return result

    def state_dict(self) -> LearnerState:
        """Return a copy of parameters, buffers, accumulators, averages, the schedule's position and the loss scale."""
        model = {name: tensor.numpy().copy() for name, tensor in self._model.state_dict().items()}
        slots, schedule = _slots.read(self._optimizer, self._model)
        extra: dict[str, Any] = {"optimizer": type(self._optimizer).__name__}
        if schedule is not None:
            extra["schedule"] = schedule
        if self._rate_factor != 1:
            extra["rate_factor"] = self._rate_factor
        if self._average is not None:
            slots.update(self._average.state_dict())
            extra["ema"] = {"updates": self._average.updates}
        if scaler := self._precision.state_dict():
            extra["scaler"] = scaler
        return LearnerState(model, slots, extra)

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave; of a state without optimizer, take the model alone.

        An average begins anew with a model that comes alone.

        Raises:
            ConfigError: the state belongs to another model, optimizer or learner; names what differs.
        """
        check_weights(state, self._model)
        check_options(state, self._optimizer, ema=self._ema, scaled=bool(self._precision.state_dict()))
        self._model.set_state_dict({name: paddle.to_tensor(array) for name, array in state.model.items()})
        if not is_whole(state):
            if self._average is not None:
                self._average.restart()
            return
        self._make_optimizer()  # free of what the former one remembers
        slots = {key: array for key, array in state.optimizer.items() if not key.endswith(SLOT)}
        schedule = None if self._schedule is None else state.extra.get("schedule")
        _slots.write(self._optimizer, self._model, slots, schedule)
        if "rate_factor" in state.extra:
            self.scale_learning_rate(float(state.extra["rate_factor"]))
        if self._average is not None:
            self._average.load_state_dict(state.optimizer, int(state.extra["ema"]["updates"]))
        self._precision.load_state_dict(state.extra.get("scaler", {}))

    def digest(self) -> str:
        """Return a text that is the same for the same trainable weights."""
        return digest(self._model)

    def summary(self) -> Mapping[str, float]:
        """Return the number of trainable parameters."""
        return {"parameters": sum(int(np.prod(p.shape)) for p in self._model.parameters() if not p.stop_gradient)}

    def tags(self) -> Mapping[str, str]:
        """Return what computes: the one that was chosen may have been given up, or a resumed run may have another."""
        return {"engine": "paddle" if self._engine is None else self._engine.told}

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write `model.json` and `model.pdiparams` with `paddle.jit.save`; return what `paddle.jit.load` reads back.

        The graph is traced from a fresh model in evaluation mode, free of the changes that speed up training, with a
        dynamic batch size.

        Raises:
            ExportError: Paddle cannot turn the model's code into a graph, or cannot read back what it wrote.
        """
        with unique_name.guard():
            model = self._parts.model()
        model.set_state_dict(self._measured.state_dict())
        return write_graph(model, folder, self._parts.spec)

    def _build(self) -> nn.Layer:
        # Paddle names parameters by global counters (linear_0.w_0): a private generator makes the names of this
        # learner independent of what was built before it in the process.
        with unique_name.guard(_slots.private_names()):
            model = self._parts.model()
        if not isinstance(model, nn.Layer):
            raise ConfigError(f"the model is a {type(model).__name__}; learner=paddle trains a paddle.nn.Layer.")
        for name, parameter in model.named_parameters():
            if parameter.dtype not in (paddle.float32, paddle.float64):
                raise ConfigError(
                    f"weight {name} is {str(parameter.dtype).removeprefix('paddle.')}; learner=paddle keeps weights in "
                    "float32 or float64, so that checkpoints are exact. For faster steps set learner.amp=bfloat16."
                )
        return model

    def _chosen_engine(self) -> Engine | None:
        parts = self._parts
        if parts.engine == "paddle" or not (parts.training or parts.device == "cpu"):
            return None  # where weights are only measured, any device will do
        return Engine(parts.device, to_static=parts.to_static)

    def _made_fast(self, model: nn.Layer) -> Callable[[Any], Any]:
        """Return how a model is called; its layers may change for that."""
        if self._engine is not None:
            self._engine.take(model)
        # A traced graph keeps the stock layers: one of the faster ones asks for values, which no trace can answer.
        if self._parts.to_static:
            traced: Callable[[Any], Any] = paddle.jit.to_static(model.forward)
            return traced
        if self._parts.tune and self._parts.device == "cpu":
            speed_up(model)
        return model

    def _make_optimizer(self) -> None:
        trainable = [p for p in self._model.parameters() if not p.stop_gradient]
        if not trainable:
            raise ConfigError(f"model {type(self._model).__name__} has no parameter to train.")
        self._rate_factor = 1.0
        self._optimizer = self._parts.optimizer(trainable)
        self._update = Update(self._optimizer, direct=self._parts.tune)
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
                f"{type(error).__name__}: {what[:500]} (EXPKIT_DEBUG=1 shows where).{double}{static} "
                "A layer that takes other inputs goes into model=paddle_layer; its model.input says which."
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
