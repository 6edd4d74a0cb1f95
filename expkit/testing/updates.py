"""Checks of the kinds that say how parameters change: optimizers, schedules, regularizers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError
from expkit.cpu_tuning import import_paddle
from expkit.testing.base import Component, build, check_options, name_of, require


def check_optimizer(component: Component) -> None:
    """Check an optimizer on a linear least-squares problem.

    The loss falls; equal starts give equal weights; a resumed run equals one never interrupted; a schedule in place
    of the rate, and a parameter's regularizer of any class, work or are refused with a `ConfigError`, never ignored.

    Args:
        component: function that takes `parameters` and `learning_rate`.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("optimizer", component)
    plain = _Problem(component)
    first = plain.loss()
    plain.steps(20)
    require(plain.loss() < first, component, f"does not lower the loss: {first} before, {plain.loss()} after")
    again = _Problem(component).steps(20)
    require(np.array_equal(plain.weights(), again.weights()), component, "gives other weights on a second run")

    half = _Problem(component).steps(10)
    resumed = _Problem(component)
    resumed.layer.set_state_dict({k: v.clone() for k, v in half.layer.state_dict().items()})
    resumed.optimizer.set_state_dict(
        {k: v.clone() if hasattr(v, "clone") else v for k, v in half.optimizer.state_dict().items()}
    )
    resumed.steps(10)
    require(np.array_equal(plain.weights(), resumed.weights()), component, "goes another way when it is resumed")

    _check_scheduled(component, plain)
    for regularizer in (paddle.regularizer.L2Decay(5.0), _pull(paddle)):
        try:
            decayed = _Problem(component, regularizer=regularizer).steps(20)
        except ConfigError:
            continue
        ignored = np.array_equal(plain.weights(), decayed.weights())
        require(not ignored, component, "ignores a parameter's regularizer; use it or raise ConfigError")


def _check_scheduled(component: Component, plain: _Problem) -> None:
    schedule = import_paddle().optimizer.lr.LambdaDecay(0.05, lambda step: 1.0 if step < 20 else 0.5)
    try:
        scheduled = _Problem(component, learning_rate=schedule).steps(20)
    except ConfigError:
        return
    same = np.array_equal(plain.weights(), scheduled.weights())
    require(same, component, "gives other weights with a schedule than with the same rate as a number")
    schedule.step(20)
    require(scheduled.optimizer.get_lr() == 0.025, component, "does not follow the schedule; use it or refuse it")


def _pull(paddle: Any) -> Any:
    """Return a regularizer of a class that Paddle does not know: a constant pull to lower values."""

    class Pull(paddle.regularizer.WeightDecayRegularizer):  # type: ignore[misc]  # Paddle has no types
        def __call__(self, param: Any, grad: Any, block: Any) -> Any:
            return paddle.full_like(grad, 5.0)

    return Pull()


class _Problem:
    """Least squares with a known answer, 6 inputs and one output; equal from start to start."""

    def __init__(self, component: Component, *, learning_rate: Any = 0.05, regularizer: Any = None):
        paddle = import_paddle()

        generator = np.random.default_rng(0)
        x = generator.standard_normal((32, 6)).astype(np.float32)
        y = x @ np.arange(1.0, 7.0, dtype=np.float32)[:, None]
        self._x, self._y = paddle.to_tensor(x), paddle.to_tensor(y)
        # State is keyed by parameter names, which must not depend on what was built before.
        with paddle.utils.unique_name.guard():
            self.layer = paddle.nn.Linear(6, 1)
        self.layer.weight.set_value(np.full((6, 1), 0.1, dtype=np.float32))
        for parameter in self.layer.parameters():
            parameter.regularizer = regularizer
        self.optimizer = build(component, parameters=self.layer.parameters(), learning_rate=learning_rate)
        right = isinstance(self.optimizer, paddle.optimizer.Optimizer)
        require(right, component, "does not return a paddle.optimizer.Optimizer")

    def steps(self, count: int) -> _Problem:
        paddle = import_paddle()

        # The first step creates the accumulators, and they take their names from a global counter too.
        with paddle.utils.unique_name.guard():
            for _ in range(count):
                (self.layer(self._x) - self._y).square().mean().backward()
                self.optimizer.step()
                self.optimizer.clear_grad()
        return self

    def loss(self) -> float:
        return float((self.layer(self._x) - self._y).square().mean())

    def weights(self) -> Array:
        return np.concatenate([p.numpy().ravel() for p in self.layer.parameters()])


def check_schedule(component: Component) -> None:
    """Check a schedule: a rate for every step of training and one more, the same each time and when resumed from JSON.

    A `ReduceOnPlateau` is stepped with values that first improve and then do not, and must name its metric.

    Args:
        component: function that may ask for `learning_rate`, `steps_per_epoch`, `epochs` and `higher_is_better`.

    Raises:
        ConformanceError: a promise is broken.
    """
    lr = import_paddle().optimizer.lr

    check_options("schedule", component)
    epochs, steps_per_epoch = 4, 5

    def make() -> Any:
        return build(
            component,
            learning_rate=0.1,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            higher_is_better={"train/loss": False, "valid/loss": False},
        )

    schedule = make()
    if not isinstance(schedule, lr.LRScheduler):
        right = isinstance(schedule, float) and math.isfinite(schedule) and schedule > 0
        require(right, component, f"returns {schedule!r}; expected a rate above 0 or an LRScheduler")
        return
    if isinstance(schedule, lr.ReduceOnPlateau):
        named = isinstance(getattr(schedule, "metric", None), str)
        require(named, component, "returns a ReduceOnPlateau without an attribute `metric: str`")
    total = epochs * steps_per_epoch
    rates = _rates(schedule, total + 1)
    sound = all(math.isfinite(rate) and rate >= 0 for rate in rates) and max(rates[:total]) > 0
    require(sound, component, f"gives rates that are negative, not finite or all 0: {rates}")
    require(rates == _rates(make(), total + 1), component, "gives other rates the second time")
    half, resumed = make(), make()
    _rates(half, total // 2)
    resumed.set_state_dict(json.loads(json.dumps(half.state_dict())))
    rest = _rates(resumed, total // 2, start=total // 2)
    require(rest == rates[total // 2 : total], component, "gives other rates when it is resumed from its state")


def _rates(schedule: Any, steps: int, *, start: int = 0) -> list[float]:
    by_metric = isinstance(schedule, import_paddle().optimizer.lr.ReduceOnPlateau)
    rates = []
    for number in range(start, start + steps):
        rates.append(float(schedule()))
        if by_metric:
            schedule.step(max(0.5, 1.0 - 0.1 * number))
        else:
            schedule.step()
    return rates


def check_regularizer(component: Component) -> None:
    """Check a regularizer: what it answers for a parameter is usable and depends on name and shape alone.

    Args:
        component: class with the method `decay`; it may have `pattern: str` and `patterns: Sequence[str]`.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("regularizer", component)
    regularizer = build(component)
    allowed = (type(None), paddle.regularizer.WeightDecayRegularizer)
    patterns = getattr(regularizer, "patterns", [])
    listed = not isinstance(patterns, str) and all(isinstance(pattern, str) for pattern in patterns)
    require(listed, component, f"has patterns {patterns!r}; expected a list of strings")
    for name, shape in (("conv1.weight", (20, 1, 5, 5)), ("conv1.bias", (20,)), ("head.weight", (980, 10))):
        answers = [regularizer.decay(name, shape) for _ in range(2)] + [build(component).decay(name, shape)]
        require(
            isinstance(answers[0], allowed),
            component,
            f"answers {answers[0]!r} for {name}; expected {_names(allowed)}",
        )
        same = len({str(answer) for answer in answers}) == 1
        require(same, component, f"answers differently for {name} when asked again")
        stepped = [_Problem(optimizer, regularizer=answers[0]).steps(3).weights() for optimizer in (_sgd, _adam)]
        require(bool(np.isfinite(stepped).all()), component, "spoils the weights of a small problem")


def _sgd(parameters: Any, learning_rate: float) -> Any:
    return import_paddle().optimizer.SGD(learning_rate, parameters=parameters)


def _adam(parameters: Any, learning_rate: float) -> Any:
    return import_paddle().optimizer.Adam(learning_rate, parameters=parameters, use_multi_tensor=True)


def _names(classes: Iterable[Callable[..., Any]]) -> str:
    return ", ".join(name_of(c) for c in classes)
