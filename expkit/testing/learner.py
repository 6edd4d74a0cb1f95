"""What a learner promises, the one seam between the training loop and an engine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit.api import Array, Batch, DataSpec, LearnerState, NotFiniteError, StepResult
from expkit.seeding import random_state, seed_everything
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import require
from expkit.testing.subject import Subject

STEPS = 4


class Trial:
    """A learner's data: inputs and targets, and learners that start from one seed."""

    def __init__(self, subject: Subject, spec: DataSpec) -> None:
        self.subject, self.spec = subject, spec
        raw: Batch = example_batch(spec)
        self.inputs: Array = spec.input.normalise(raw.inputs)
        self.targets: Array = raw.targets

    def fresh(self) -> Any:
        """Build a learner from the same seed each time."""
        seed_everything(0)
        return self.subject.make(self.spec)

    def train(self, learner: Any, seed: int, steps: int = STEPS) -> list[float]:
        """Take a few steps; equal seeds drop the same units."""
        seed_everything(seed)
        return [float(learner.train_step(self.inputs, self.targets).loss) for _ in range(steps)]

    def trained(self) -> tuple[Any, LearnerState]:
        """Return a learner after some steps, and its state then; for checks that do not change it."""

        def make() -> tuple[Any, LearnerState]:
            learner = self.fresh()
            self.train(learner, 1)
            return learner, learner.state_dict()

        return self.subject.memo(("trained", self.spec.name), make)

    def close(self, one: Array, other: Array, expected: str, mend: str = "") -> None:
        """Require that two answers are nearly equal."""
        same_shape = one.shape == other.shape
        got = f"up to {np.abs(one - other).max():.3g} apart" if same_shape else f"{one.shape} and {other.shape}"
        require(same_shape and np.allclose(one, other, rtol=1e-3, atol=1e-4), expected=expected, got=got, mend=mend)


@promise(
    "learner", name="facts", each="spec", text="It has a learning rate of 0 or above, and a summary of numbers by name."
)
def facts(subject: Subject, spec: DataSpec) -> None:
    """Look at both."""
    learner = subject.made(spec)
    rate, summary = learner.learning_rate, learner.summary()
    right = isinstance(rate, float) and math.isfinite(rate) and rate >= 0
    require(right, expected="a learning_rate, a float of 0 or above", got=repr(rate))
    right = isinstance(summary, Mapping) and all(
        isinstance(name, str) and isinstance(value, (int, float)) for name, value in summary.items()
    )
    require(right, expected="a summary() of numbers by name", got=repr(summary))


@promise(
    "learner",
    name="results",
    each="spec",
    text="Steps answer a StepResult: a float as loss, and outputs [N, K], for batches of any size.",
)
def results(subject: Subject, spec: DataSpec) -> None:
    """Try both kinds of steps with three sizes."""
    trial = Trial(subject, spec)
    learner = trial.fresh()
    for size in (16, 7, 1):
        given = trial.inputs[:size], trial.targets[:size]
        wanted = (size, spec.outputs)
        for method in ("train_step", "eval_step"):
            found = getattr(learner, method)(*given)
            loss = getattr(found, "loss", None)
            got = f"a {type(found).__name__} with the loss {loss!r}"
            expected = f"a StepResult with a loss that is a float, of {method}"
            require(isinstance(found, StepResult) and type(loss) is float, expected=expected, got=got)
            require(found.outputs.shape == wanted, expected=f"outputs {wanted} of {method}", got=found.outputs.shape)
        predicted = learner.predict(given[0])
        require(predicted.shape == wanted, expected=f"outputs {wanted} of predict", got=predicted.shape)
        require(bool(np.isfinite(predicted).all()), expected="finite outputs of predict", got="NaN or infinity")


@promise("learner", name="pure", each="spec", text="It does not write into inputs or targets.")
def pure(subject: Subject, spec: DataSpec) -> None:
    """Compare them before and after."""
    trial = Trial(subject, spec)
    learner = trial.fresh()
    kept = trial.inputs.copy(), trial.targets.copy()
    learner.train_step(trial.inputs, trial.targets)
    learner.eval_step(trial.inputs, trial.targets)
    learner.predict(trial.inputs)
    same = np.array_equal(trial.inputs, kept[0]) and np.array_equal(trial.targets, kept[1])
    require(same, expected="inputs and targets as they were", got="others")


@promise(
    "learner", name="steady", each="spec", text="eval_step and predict answer alike, and the same when asked again."
)
def steady(subject: Subject, spec: DataSpec) -> None:
    """Ask several times."""
    trial = Trial(subject, spec)
    learner, _ = trial.trained()
    outputs = learner.predict(trial.inputs)
    found = [learner.eval_step(trial.inputs, trial.targets) for _ in range(2)]
    same = found[0].loss == found[1].loss and all(np.array_equal(one.outputs, outputs) for one in found)
    mend = "both work in evaluation mode, with the weights that are measured"
    require(same, expected="the same answers of eval_step, predict, and again", got="others", mend=mend)


@promise("learner", name="alone", each="spec", text="In evaluation a sample's answer does not depend on its batch.")
def alone(subject: Subject, spec: DataSpec) -> None:
    """Ask for three samples alone."""
    trial = Trial(subject, spec)
    learner, _ = trial.trained()
    single = np.concatenate([learner.predict(trial.inputs[i : i + 1]) for i in range(3)])
    trial.close(single, learner.predict(trial.inputs)[:3], "the answers to samples alone as in a batch of 16")


@promise(
    "learner",
    name="watching",
    each="spec",
    text="eval_step and predict change no state, and draw no global random number.",
)
def watching(subject: Subject, spec: DataSpec) -> None:
    """Compare the state and the generators before and after."""
    trial = Trial(subject, spec)
    learner = trial.fresh()
    trial.train(learner, 1, steps=1)
    before, random = bits(learner.state_dict()), random_state()
    learner.eval_step(trial.inputs, trial.targets)
    learner.predict(trial.inputs)
    require(bits(learner.state_dict()) == before, expected="the state as it was", got="another")
    names = [name for name, state in random_state().items() if state != random[name]]
    require(not names, expected="no global random number drawn", got=f"draws from that of {', '.join(names)}")


@promise("learner", name="learns", each="spec", text="Its loss is finite, and falls on a few samples.")
def learns(subject: Subject, spec: DataSpec) -> None:
    """Train it a little."""
    trial = Trial(subject, spec)
    learner = trial.fresh()
    first = learner.eval_step(trial.inputs, trial.targets).loss
    losses = [loss for seed in range(3) for loss in trial.train(learner, seed)]
    require(all(map(math.isfinite, losses)), expected="finite losses", got=losses)
    last = learner.eval_step(trial.inputs, trial.targets).loss
    require(last < first, expected=f"less than {first:.6g} after {len(losses)} steps", got=f"{last:.6g}")


@promise(
    "learner", name="deterministic", each="spec", text="Two that are built and trained from the same seed are equal."
)
def deterministic(subject: Subject, spec: DataSpec) -> None:
    """Compare their states and losses."""
    trial = Trial(subject, spec)
    twin, other = trial.fresh(), trial.fresh()
    require(bits(twin.state_dict()) == bits(other.state_dict()), expected="the same start", got="another")
    wanted, found = trial.train(twin, 1), trial.train(other, 1)
    require(wanted == found, expected=f"the losses {wanted} again", got=found)


@promise(
    "learner",
    name="not_finite",
    each="spec",
    text="On NaN it raises NotFiniteError and is as it was before the step, or returns a loss that is not finite.",
)
def not_finite(subject: Subject, spec: DataSpec) -> None:
    """Give it NaN."""
    trial = Trial(subject, spec)
    learner = trial.fresh()
    before = bits(learner.state_dict())
    try:
        found = learner.train_step(np.full_like(trial.inputs, np.nan), trial.targets)
    except NotFiniteError as error:
        same = bits(learner.state_dict()) == before or not error.undone
        mend = "look at loss and gradients before the update, or say undone=False"
        require(same, expected="the state as it was before the step", got="another", mend=mend)
        return
    require(not math.isfinite(found.loss), expected="NotFiniteError, or a loss that is not finite", got=found.loss)


def bits(state: LearnerState) -> tuple[Any, ...]:
    """Return all of a state in a form that can be compared."""
    arrays = [
        {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in sorted(part.items())}
        for part in (state.model, state.optimizer)
    ]
    return (*arrays, json.dumps(dict(state.extra), sort_keys=True))


@uses("learner")
def _use(spec: DataSpec | None, learner: Any) -> None:
    assert spec is not None
    batch = example_batch(spec)
    learner.train_step(spec.input.normalise(batch.inputs), batch.targets)
