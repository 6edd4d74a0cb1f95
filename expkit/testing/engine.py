"""Checks of the kinds that work on Paddle tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from expkit.api import Array, Batch, ConfigError, DataSpec
from expkit.cpu_tuning import import_paddle
from expkit.testing.base import Component, build, check_options, each_fitting, example_batch, name_of, require

_STEPS = 15


def check_model(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a model: outputs, independence of samples, gradients, learning, seeds, and its state.

    Args:
        component: the model's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("model", component)
    for spec, model in each_fitting(component, specs):
        require(isinstance(model, paddle.nn.Layer), component, "is not a paddle.nn.Layer")
        batch = example_batch(spec)
        inputs = spec.input.normalise(batch.inputs)
        _check_answers(component, model, spec, inputs)
        losses, trained = _train(component, spec, inputs, batch)
        again, twin = _train(component, spec, inputs, batch)
        require(losses == again, component, f"learns differently on {spec.name} from the same seed")
        require(all(map(math.isfinite, losses)), component, f"gives a loss that is not finite on {spec.name}")
        fell = sum(losses[-3:]) / 3 < losses[0]
        require(fell, component, f"does not learn {len(inputs)} samples of {spec.name}: losses {losses}")
        model.set_state_dict(trained.state_dict())
        answers = (_answers(model, inputs), _answers(twin, inputs))
        require(np.array_equal(*answers), component, "answers differently after its state was saved and loaded")


def _check_answers(component: Component, model: Any, spec: DataSpec, inputs: Array) -> None:
    before = inputs.copy()
    outputs = _answers(model, inputs)
    expected = (len(inputs), spec.outputs)
    require(outputs.shape == expected, component, f"answers {outputs.shape} on {spec.name}; expected {expected}")
    require(outputs.dtype == np.float32, component, f"answers in {outputs.dtype}; expected float32")
    require(bool(np.isfinite(outputs).all()), component, f"answers are not finite on {spec.name}")
    require(np.array_equal(inputs, before), component, "writes into its inputs")
    require(np.array_equal(outputs, _answers(model, inputs)), component, "answers differently in eval mode")
    alone = np.concatenate([_answers(model, inputs[i : i + 1]) for i in range(3)])
    close = np.allclose(outputs[:3], alone, rtol=1e-3, atol=1e-4)
    require(close, component, "answers a sample differently alone than in a batch, in eval mode")


def _answers(model: Any, inputs: Array) -> Array:
    paddle = import_paddle()

    model.eval()
    with paddle.no_grad():
        answers: Array = model(paddle.to_tensor(inputs)).numpy()
    return answers


def _train(component: Component, spec: DataSpec, inputs: Array, batch: Batch) -> tuple[list[float], Any]:
    paddle = import_paddle()

    paddle.seed(0)
    model = build(component, spec=spec)
    model.train()
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    x, y = paddle.to_tensor(inputs), paddle.to_tensor(batch.targets)
    compare = paddle.nn.functional.cross_entropy if spec.is_classification else paddle.nn.functional.mse_loss
    losses = []
    for _ in range(_STEPS):
        loss = compare(model(x), y)
        loss.backward()
        _check_gradients(component, model)
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    return losses, model


def _check_gradients(component: Component, model: Any) -> None:
    for name, parameter in model.named_parameters():
        if parameter.stop_gradient:
            continue
        require(parameter.grad is not None, component, f"parameter {name} gets no gradient")
        require(bool(parameter.grad.isfinite().all()), component, f"the gradient of {name} is not finite")


def check_loss(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a loss: a finite scalar, the mean over the batch, a slope that leads down, no broadcasting.

    Args:
        component: class or function.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("loss", component)
    for spec, loss in each_fitting(component, specs):
        batch = example_batch(spec)
        targets = paddle.to_tensor(batch.targets)
        raw = np.random.default_rng(1).standard_normal((len(batch.targets), spec.outputs)).astype(np.float32)
        outputs = paddle.to_tensor(raw, stop_gradient=False)
        value = loss(outputs, targets)
        require(list(value.shape) == [], component, f"is no scalar (0-D) tensor but {list(value.shape)}")
        require(math.isfinite(float(value)), component, f"is not finite on {spec.name}")
        value.backward()
        require(outputs.grad is not None, component, "gives no gradient to the outputs")
        slope = outputs.grad.numpy()
        require(
            bool(np.isfinite(slope).all() and slope.any()),
            component,
            "has a gradient that is 0 or not finite",
        )
        lower = loss(paddle.to_tensor(raw - 1e-2 * slope / np.abs(slope).max()), targets)
        require(float(lower) < float(value), component, "does not fall along its own gradient")
        twice = loss(paddle.concat([outputs, outputs]), paddle.concat([targets, targets]))
        mean = math.isclose(float(twice), float(value), rel_tol=1e-4)
        require(mean, component, "changes when the batch is doubled; it must be the mean over the batch")
        _check_refusal(component, loss, outputs, targets[:-1], "one target too few")
        _check_refusal(component, loss, outputs, targets[:1], "a single target")
        if not spec.is_classification:
            _check_refusal(component, loss, outputs, targets[:, 0], "targets [N]")


def _check_refusal(component: Component, loss: Any, outputs: Any, targets: Any, wrong: str) -> None:
    try:
        loss(outputs, targets)
    except Exception:  # noqa: BLE001 - any error will do; only silence is wrong
        return
    require(False, component, f"accepts {wrong} for outputs {list(outputs.shape)}; shapes must never be broadcast")


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
    """Check a schedule: a rate for every step of training and one more, the same each time and when resumed.

    Args:
        component: function that may ask for `learning_rate`, `steps_per_epoch` and `epochs`.

    Raises:
        ConformanceError: a promise is broken.
    """
    scheduler = import_paddle().optimizer.lr.LRScheduler

    check_options("schedule", component)
    epochs, steps_per_epoch = 4, 5

    def make() -> Any:
        return build(component, learning_rate=0.1, steps_per_epoch=steps_per_epoch, epochs=epochs)

    schedule = make()
    if not isinstance(schedule, scheduler):
        right = isinstance(schedule, float) and math.isfinite(schedule) and schedule > 0
        require(right, component, f"returns {schedule!r}; expected a rate above 0 or an LRScheduler")
        return
    total = epochs * steps_per_epoch
    rates = _rates(schedule, total + 1)
    sound = all(math.isfinite(rate) and rate >= 0 for rate in rates) and max(rates[:total]) > 0
    require(sound, component, f"gives rates that are negative, not finite or all 0: {rates}")
    require(rates == _rates(make(), total + 1), component, "gives other rates the second time")
    half, resumed = make(), make()
    _rates(half, total // 2)
    resumed.set_state_dict(half.state_dict())
    rest = _rates(resumed, total // 2)
    require(rest == rates[total // 2 : total], component, "gives other rates when it is resumed from its state")


def _rates(schedule: Any, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(float(schedule()))
        schedule.step()
    return rates


def check_regularizer(component: Component) -> None:
    """Check a regularizer: what it answers for a parameter is usable and depends on name and shape alone.

    Args:
        component: class with the method `decay`.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("regularizer", component)
    regularizer = build(component)
    allowed = (type(None), paddle.regularizer.L1Decay, paddle.regularizer.L2Decay)
    for name, shape in (("conv1.weight", (20, 1, 5, 5)), ("conv1.bias", (20,)), ("head.weight", (980, 10))):
        answers = [regularizer.decay(name, shape) for _ in range(2)] + [build(component).decay(name, shape)]
        require(
            isinstance(answers[0], allowed),
            component,
            f"answers {answers[0]!r} for {name}; expected {_names(allowed)}",
        )
        same = len({str(answer) for answer in answers}) == 1
        require(same, component, f"answers differently for {name} when asked again")
        stepped = _Problem(_sgd, regularizer=answers[0]).steps(3)
        require(bool(np.isfinite(stepped.weights()).all()), component, "spoils the weights of a small problem")


def _sgd(parameters: Any, learning_rate: float) -> Any:
    paddle = import_paddle()

    return paddle.optimizer.SGD(learning_rate, parameters=parameters)


def _names(classes: Iterable[Callable[..., Any]]) -> str:
    return ", ".join(name_of(c) for c in classes)
