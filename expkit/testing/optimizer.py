"""What an optimizer promises, on a linear least-squares problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec
from expkit.paddle_import import import_paddle
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, require
from expkit.testing.subject import Subject

_STEPS = 20
Build = Callable[..., Any]


class Problem:
    """Least squares with a known answer, 6 inputs and one output; equal from start to start.

    Args:
        build: makes the optimizer of `parameters` and `learning_rate`.
        learning_rate: a number or a schedule.
        regularizer: of all parameters.
    """

    def __init__(self, build: Build, *, learning_rate: Any = 0.05, regularizer: Any = None) -> None:
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
        self.optimizer = build(parameters=self.layer.parameters(), learning_rate=learning_rate)

    def steps(self, count: int) -> Problem:
        """Make some steps."""
        paddle = import_paddle()

        # The first step creates the accumulators, and they take their names from a global counter too.
        with paddle.utils.unique_name.guard():
            for _ in range(count):
                (self.layer(self._x) - self._y).square().mean().backward()
                self.optimizer.step()
                self.optimizer.clear_grad()
        return self

    def loss(self) -> float:
        """Return the mean of squares."""
        return float((self.layer(self._x) - self._y).square().mean())

    def weights(self) -> Array:
        """Return all weights, flat."""
        return np.concatenate([parameter.numpy().ravel() for parameter in self.layer.parameters()])


def _build(subject: Subject) -> Build:
    """Return what builds the optimizer; `learning_rate` of its own options stays."""

    def build(parameters: Any, learning_rate: Any) -> Any:
        options = {"learning_rate": learning_rate} if "learning_rate" in subject.parameters else {}
        return subject.build(options, parameters=parameters)

    return build


def _plain(subject: Subject) -> Problem:
    """Return the problem after some steps."""
    return subject.memo("plain", lambda: Problem(_build(subject)).steps(_STEPS))


@promise("optimizer", name="returns", text="It returns a paddle.optimizer.Optimizer.")
def returns(subject: Subject) -> None:
    """Look at its class."""
    found = subject.made()
    right = isinstance(found, import_paddle().optimizer.Optimizer)
    require(right, expected="a paddle.optimizer.Optimizer", got=f"a {type(found).__name__}")


@promise("optimizer", name="rate", text="It has an option learning_rate: float, and its first step uses that rate.")
def rate(subject: Subject) -> None:
    """Give it a rate."""
    parameter = subject.parameters.get("learning_rate")
    mend = "a chosen schedule starts from it, and is passed in its place"
    require(parameter is not None, expected="an option learning_rate: float", got="none", mend=mend)
    found = Problem(_build(subject), learning_rate=0.0125).optimizer.get_lr()
    require(found == 0.0125, expected="get_lr() of 0.0125, as it was given", got=found, mend=mend)


@promise("optimizer", name="learns", text="It lowers the loss of a small problem, with finite weights.")
def learns(subject: Subject) -> None:
    """Make some steps."""
    before, trained = Problem(_build(subject)).loss(), _plain(subject)
    after = trained.loss()
    got = f"{after:.6g} after {_STEPS} steps"
    require(bool(np.isfinite(trained.weights()).all()), expected="finite weights", got="NaN or infinity")
    require(after < before, expected=f"a loss below {before:.6g}", got=got)


@promise("optimizer", name="deterministic", text="Equal starts give equal weights.")
def deterministic(subject: Subject) -> None:
    """Make the same steps again."""
    again = Problem(_build(subject)).steps(_STEPS)
    same = np.array_equal(_plain(subject).weights(), again.weights())
    require(same, expected="the same weights on a second run", got="others")


@promise("optimizer", name="state", text="One that takes the state_dict of another goes on as that one would have.")
def state(subject: Subject) -> None:
    """Stop half-way, and go on with another one."""
    half, resumed = Problem(_build(subject)).steps(_STEPS // 2), Problem(_build(subject))
    resumed.layer.set_state_dict({name: v.clone() for name, v in half.layer.state_dict().items()})
    kept = {name: v.clone() if hasattr(v, "clone") else v for name, v in half.optimizer.state_dict().items()}
    resumed.optimizer.set_state_dict(kept)
    resumed.steps(_STEPS - _STEPS // 2)
    same = np.array_equal(_plain(subject).weights(), resumed.weights())
    mend = "keep all memory in accumulators (_add_accumulator), which state_dict() gathers"
    require(same, expected="the weights of a run that did not stop", got="others", mend=mend)


@promise(
    "optimizer", name="schedule", text="It follows a schedule in place of its rate, or refuses it with a ConfigError."
)
def schedule(subject: Subject) -> None:
    """Give it one that keeps its rate, then halves it."""
    follow = import_paddle().optimizer.lr.LambdaDecay(0.05, lambda step: 1.0 if step < _STEPS else 0.5)
    try:
        scheduled = Problem(_build(subject), learning_rate=follow).steps(_STEPS)
    except ConfigError as error:
        raise NotApplicable(f"it refuses a schedule: {error}") from error
    same = np.array_equal(_plain(subject).weights(), scheduled.weights())
    require(same, expected="the weights as with the same rate as a number", got="others")
    follow.step(_STEPS)
    found = scheduled.optimizer.get_lr()
    mend = "pass the schedule to Paddle's Optimizer, do not call it"
    require(found == 0.025, expected="get_lr() of 0.025, as the schedule says now", got=found, mend=mend)


@promise(
    "optimizer",
    name="regularizer",
    text="It uses a parameter's regularizer, of any class, or refuses it with a ConfigError.",
)
def regularizer(subject: Subject) -> None:
    """Give it a strong decay, and one of a class that Paddle does not know."""
    paddle = import_paddle()

    for given in (paddle.regularizer.L2Decay(5.0), _pull(paddle)):
        try:
            decayed = Problem(_build(subject), regularizer=given).steps(_STEPS)
        except ConfigError:
            continue
        ignored = np.array_equal(_plain(subject).weights(), decayed.weights())
        got = f"ignores a {type(given).__name__}"
        require(not ignored, expected="other weights with a regularizer, or a ConfigError", got=got)


def _pull(paddle: Any) -> Any:
    """Return a regularizer of a class that Paddle does not know: a constant pull to lower values."""

    class Pull(paddle.regularizer.WeightDecayRegularizer):  # type: ignore[misc]  # Paddle has no types
        def __call__(self, param: Any, grad: Any, block: Any) -> Any:
            return paddle.full_like(grad, 5.0)

    return Pull()


@promise(
    "optimizer",
    name="own_parameters",
    text="It moves all parameters that it is given and that have a gradient, no others.",
)
def own_parameters(subject: Subject) -> None:
    """Give it one of two layers, and no gradient to a part of that."""
    paddle = import_paddle()

    layers = [paddle.nn.Linear(2, 2) for _ in range(3)]
    optimizer = _build(subject)(parameters=[*layers[0].parameters(), *layers[2].parameters()], learning_rate=0.05)
    before = [layer.weight.numpy().copy() for layer in layers]
    inputs = paddle.to_tensor(np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32))
    (layers[0](inputs) + layers[1](inputs)).square().mean().backward()
    optimizer.step()
    moved = [not np.array_equal(old, layer.weight.numpy()) for old, layer in zip(before, layers, strict=True)]
    require(moved[0], expected="the given parameters to move", got="they stay")
    require(not moved[1], expected="a parameter that was not given to stay", got="it moves")
    require(not moved[2], expected="a parameter without a gradient to stay", got="it moves")


@uses("optimizer")
def _use(spec: DataSpec | None, optimizer: Any) -> None:
    parameters = optimizer._parameter_list
    for parameter in parameters:
        parameter.square().mean().backward()
    optimizer.step()
