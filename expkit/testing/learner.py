"""The check of learners, the one seam between the training loop and an engine."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, Batch, ConfigError, DataSpec, LearnerState, StepResult
from expkit.cpu_tuning import import_paddle
from expkit.seeding import random_state, seed_everything
from expkit.testing.base import Component, build, check_options, each_fitting, require
from expkit.testing.examples import example_batch

_STEPS = 4


class _Parts:
    """What a learner may ask for: a small network with dropout, Adam on a falling rate, no decay."""

    epochs, steps_per_epoch, seed, device, tune, to_static, training = 20, 1, 0, "cpu", False, False, True
    team = None

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def model(self) -> Any:
        nn = import_paddle().nn
        hidden = nn.Linear(math.prod(self.spec.input_shape), 8)
        layers = nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, self.spec.outputs))
        layers.to(dtype=self.spec.input_dtype)
        return layers

    def loss(self) -> Callable[..., Any]:
        functional = import_paddle().nn.functional
        found: Callable[..., Any] = functional.cross_entropy if self.spec.is_classification else functional.mse_loss
        return found

    def regularizer(self) -> _Parts:
        return self

    def decay(self, name: str, shape: tuple[int, ...]) -> None:
        """Leave every parameter alone."""

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        optimizer = import_paddle().optimizer
        rate = optimizer.lr.PolynomialDecay(0.02, decay_steps=self.epochs * self.steps_per_epoch, end_lr=0.002)
        return optimizer.Adam(rate, parameters=list(parameters))


def check_learner(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a learner: that it learns, that looking changes nothing, that its state is whole, that its export is true.

    It is given a small network with dropout, a loss and an optimizer with a schedule, which it need not use, and random
    samples. The global generators are seeded.

    Args:
        component: the learner's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    check_options("learner", component)
    seed_everything(0)
    for spec, learner in each_fitting(component, specs, supply=lambda spec: {"parts": _Parts(spec)}):
        trial = _Trial(component, spec)
        _check_facts(component, learner)
        trial.check_watching(learner)
        trial.check_learning(learner)
        trial.check_state()
        trial.check_export(learner)


def _check_facts(component: Component, learner: Any) -> None:
    rate, summary = learner.learning_rate, learner.summary()
    right = isinstance(rate, float) and math.isfinite(rate) and rate >= 0
    require(right, component, f"has the learning rate {rate!r}; expected a number, 0 or above")
    right = isinstance(summary, Mapping) and all(
        isinstance(name, str) and isinstance(value, (int, float)) for name, value in summary.items()
    )
    require(right, component, f"has the summary {summary!r}; expected numbers by name")


class _Trial:
    """The promises of a learner on one kind of data."""

    def __init__(self, component: Component, spec: DataSpec) -> None:
        self.component, self.spec = component, spec
        raw: Batch = example_batch(spec)
        dtype = "int64" if spec.is_classification else getattr(spec.target, "precision", "float32")
        self.inputs: Array = spec.input.normalise(raw.inputs)
        self.targets: Array = raw.targets.astype(dtype)
        for array in (self.inputs, self.targets):
            array.setflags(write=False)

    def fresh(self) -> Any:
        seed_everything(0)
        return build(self.component, parts=_Parts(self.spec))

    def train(self, learner: Any, seed: int) -> list[float]:
        """Take a few steps; equal seeds drop the same units."""
        seed_everything(seed)
        return [learner.train_step(self.inputs, self.targets).loss for _ in range(_STEPS)]

    def require(self, kept: bool, promise: str) -> None:
        require(kept, self.component, f"{promise} ({self.spec.name})")

    def check_watching(self, learner: Any) -> None:
        """`eval_step` and `predict` answer alike, alone and in a batch, and leave no trace."""
        before, random = _bits(learner.state_dict()), random_state()
        outputs = learner.predict(self.inputs)
        expected = (len(self.inputs), self.spec.outputs)
        self.require(outputs.shape == expected, f"predicts {outputs.shape}; expected {expected}")
        self.require(bool(np.isfinite(outputs).all()), "predicts numbers that are not finite")
        results = [learner.eval_step(self.inputs, self.targets) for _ in range(2)]
        self.check_result(results[0])
        same = results[0].loss == results[1].loss and all(np.array_equal(r.outputs, outputs) for r in results)
        self.require(same, "answers differently in eval_step, in predict, or when asked again")
        alone = np.concatenate([learner.predict(self.inputs[i : i + 1]) for i in range(3)])
        self.require(_close(alone, outputs[:3]), "answers a sample differently alone than in a batch")
        self.require(_bits(learner.state_dict()) == before, "changes its state in eval_step or predict")
        self.require(random_state() == random, "draws from a global generator in eval_step or predict")

    def check_learning(self, learner: Any) -> None:
        """Losses are finite and fall, and are the same for the same seed."""
        twin, other = self.fresh(), self.fresh()
        self.require(_bits(twin.state_dict()) == _bits(other.state_dict()), "starts differently from the same seed")
        first = learner.eval_step(self.inputs, self.targets).loss
        self.check_result(learner.train_step(self.inputs, self.targets))
        for seed in range(3):
            losses = self.train(learner, seed)
            self.require(all(map(math.isfinite, losses)), f"has a loss that is not finite: {losses}")
        last = learner.eval_step(self.inputs, self.targets).loss
        self.require(last < first, f"does not learn {len(self.inputs)} samples: loss {first} before, {last} after")
        equal = self.train(twin, 1) == self.train(other, 1)
        self.require(equal, "learns differently from the same seed")

    def check_result(self, result: Any) -> None:
        loss = getattr(result, "loss", None)
        right = isinstance(result, StepResult) and type(loss) is float
        answer = f"{type(result).__name__} with the loss {loss!r}"
        self.require(right, f"answers a {answer}; expected a StepResult with a loss that is a float")
        expected = (len(self.inputs), self.spec.outputs)
        self.require(result.outputs.shape == expected, f"answers {result.outputs.shape}; expected {expected}")

    def check_state(self) -> None:
        """A state is a copy, brings another learner to the very same place, and its weights can be taken alone."""
        first, second, third = self.fresh(), self.fresh(), self.fresh()
        self.train(first, 1)
        state = first.state_dict()
        kept, extra, outputs = _bits(state), dict(state.extra), first.predict(self.inputs)
        self.require(
            json.loads(json.dumps(extra, allow_nan=False)) == extra, f"has an extra that JSON does not keep: {extra}"
        )
        rate, wanted = first.learning_rate, self.train(first, 2)
        self.require(_bits(state) == kept, "changes a state after it was handed out; a state is a copy")
        self.train(second, 3)
        second.train_step(self.inputs, self.targets)  # not as many steps as the first
        second.load_state_dict(state)
        same = np.array_equal(second.predict(self.inputs), outputs)
        self.require(same, "answers differently after its state was saved and loaded")
        self.require(second.learning_rate == rate, "has another rate after its state was saved and loaded")
        self.require(self.train(second, 2) == wanted, "learns differently after its state was saved and loaded")
        same = _bits(second.state_dict()) == _bits(first.state_dict())
        self.require(same, "ends in another state after its state was saved and loaded")
        self.require(_bits(state) == kept, "changes a state that it has loaded")
        third.load_state_dict(LearnerState(_measured(state), {}))
        same = np.array_equal(third.predict(self.inputs), outputs)
        self.require(same, "answers differently with the weights of a state without optimizer")
        self.check_refusal(third, state)

    def check_refusal(self, learner: Any, state: LearnerState) -> None:
        name, array = next(iter(state.model.items()))
        wrong = {**state.model, name: np.concatenate([array, array])}
        try:
            learner.load_state_dict(LearnerState(wrong, {}))
        except ConfigError:
            return
        self.require(False, f"takes {name} in the shape of another model; that is a ConfigError")

    def check_export(self, learner: Any) -> None:
        """What was written predicts as the learner did when it wrote it."""
        before, outputs = _bits(learner.state_dict()), learner.predict(self.inputs)
        with tempfile.TemporaryDirectory() as folder:
            predict = learner.export(Path(folder))
            self.require(any(Path(folder).iterdir()), "exports without writing a file")
            self.require(_bits(learner.state_dict()) == before, "changes its state in export")
            self.train(learner, 4)
            self.require(_close(predict(self.inputs), outputs), "exports what predicts differently")
            self.require(_close(predict(self.inputs[:1]), outputs[:1]), "exports what takes one batch size only")


def _measured(state: LearnerState) -> dict[str, Array]:
    """Return the weights that are measured: averaged ones, where there are such."""
    return {name: state.optimizer.get(f"{name}/ema", array) for name, array in state.model.items()}


def _bits(state: LearnerState) -> tuple[Any, ...]:
    arrays = [
        {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in sorted(part.items())}
        for part in (state.model, state.optimizer)
    ]
    return (*arrays, json.dumps(dict(state.extra), sort_keys=True))


def _close(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3, atol=1e-4))
