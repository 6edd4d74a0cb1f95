"""What a regularizer promises."""

from __future__ import annotations

from typing import Any

import numpy as np

from expkit.api import DataSpec
from expkit.paddle_import import import_paddle
from expkit.testing.optimizer import Problem
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import require
from expkit.testing.subject import Subject

_PARAMETERS = (("conv1.weight", (20, 1, 5, 5)), ("conv1.bias", (20,)), ("head.weight", (980, 10)))


@promise("regularizer", name="answers", text="It answers a paddle.regularizer or None for each parameter.")
def answers(subject: Subject) -> None:
    """Ask it of several parameters."""
    allowed = (type(None), import_paddle().regularizer.WeightDecayRegularizer)
    for name, shape in _PARAMETERS:
        found = subject.made().decay(name, shape)
        expected = f"None or a paddle.regularizer.WeightDecayRegularizer for {name}"
        require(isinstance(found, allowed), expected=expected, got=repr(found))


@promise(
    "regularizer", name="patterns", text="`pattern` is a text, and `patterns` is a list of texts, where it has them."
)
def patterns(subject: Subject) -> None:
    """Look at both."""
    one, several = getattr(subject.made(), "pattern", ""), getattr(subject.made(), "patterns", [])
    require(isinstance(one, str), expected="a pattern that is a text", got=repr(one))
    listed = not isinstance(several, str) and all(isinstance(pattern, str) for pattern in several)
    require(listed, expected="patterns that are a list of texts", got=repr(several))


@promise("regularizer", name="deterministic", text="Its answer depends on name and shape of the parameter alone.")
def deterministic(subject: Subject) -> None:
    """Ask again, in another order, and ask another one."""
    first = {name: str(subject.made().decay(name, shape)) for name, shape in _PARAMETERS}
    for regularizer in (subject.made(), subject.make()):
        for name, shape in reversed(_PARAMETERS):
            found = str(regularizer.decay(name, shape))
            require(found == first[name], expected=f"{first[name]} for {name} again", got=found)


@promise("regularizer", name="usable", text="Optimizers can use its answers: weights stay finite.")
def usable(subject: Subject) -> None:
    """Make steps with two optimizers."""
    for name, shape in _PARAMETERS:
        _use_answer(subject.made().decay(name, shape))


def _use_answer(answer: Any) -> None:
    for optimizer in (_sgd, _adam):
        weights = Problem(optimizer, regularizer=answer).steps(3).weights()
        expected = f"finite weights after 3 steps of {optimizer.__name__.strip('_')}"
        require(bool(np.isfinite(weights).all()), expected=expected, got="NaN or infinity")


def _sgd(parameters: Any, learning_rate: float) -> Any:
    return import_paddle().optimizer.SGD(learning_rate, parameters=parameters)


def _adam(parameters: Any, learning_rate: float) -> Any:
    return import_paddle().optimizer.Adam(learning_rate, parameters=parameters, use_multi_tensor=True)


@uses("regularizer")
def _use(spec: DataSpec | None, regularizer: Any) -> None:
    for name, shape in _PARAMETERS:
        regularizer.decay(name, shape)
