"""What a learner promises of what it keeps: its state, its export, the rate that it was told."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np

from expkit.api import Array, ConfigError, DataSpec, LearnerState
from expkit.testing.learner import STEPS, Trial, bits
from expkit.testing.promises import promise
from expkit.testing.report import NotApplicable, broken, require
from expkit.testing.subject import Subject


@promise(
    "learner",
    name="copies",
    each="spec",
    text="A state is a copy in JSON and arrays: later steps change neither one handed out nor one loaded.",
)
def copies(subject: Subject, spec: DataSpec) -> None:
    """Train on after each."""
    trial = Trial(subject, spec)
    learner, other = trial.fresh(), trial.fresh()
    trial.train(learner, 1)
    state = learner.state_dict()
    kept, extra = bits(state), dict(state.extra)
    same = json.loads(json.dumps(extra, allow_nan=False)) == extra
    require(same, expected="an extra that JSON keeps", got=extra)
    trial.train(learner, 2)
    mend = "copy each array"
    require(bits(state) == kept, expected="the state that was handed out as it was", got="another", mend=mend)
    other.load_state_dict(state)
    trial.train(other, 2)
    require(bits(state) == kept, expected="the state that was loaded as it was", got="another", mend=mend)


@promise(
    "learner",
    name="state",
    each="spec",
    text="One that takes the state of another answers and goes on learning as that one would have.",
)
def state(subject: Subject, spec: DataSpec) -> None:
    """Load it into one that has learned something else."""
    trial = Trial(subject, spec)
    first, second = trial.fresh(), trial.fresh()
    trial.train(first, 1)
    outputs, rate, kept = first.predict(trial.inputs), first.learning_rate, first.state_dict()
    trial.train(second, 3, steps=STEPS + 1)  # not as many steps as the first
    second.load_state_dict(kept)
    mend = "all that it remembers belongs into state_dict()"
    same = np.array_equal(second.predict(trial.inputs), outputs)
    require(same, expected="the same answers", got="others", mend=mend)
    require(second.learning_rate == rate, expected=f"the learning rate {rate}", got=second.learning_rate, mend=mend)
    wanted, found = trial.train(first, 2), trial.train(second, 2)
    require(found == wanted, expected=f"the next losses {wanted}", got=found, mend=mend)
    same = bits(second.state_dict()) == bits(first.state_dict())
    require(same, expected="the same state at the end", got="another", mend=mend)


@promise(
    "learner",
    name="weights",
    each="spec",
    text="It takes the weights of a state alone, and refuses those of another model with a ConfigError.",
)
def weights(subject: Subject, spec: DataSpec) -> None:
    """Load them, then some of another shape."""
    trial = Trial(subject, spec)
    trained, kept = trial.trained()
    other = trial.fresh()
    other.load_state_dict(LearnerState(_measured(kept), {}))
    same = np.array_equal(other.predict(trial.inputs), trained.predict(trial.inputs))
    require(same, expected="the same answers with the weights of a state without optimizer", got="others")
    name, array = next(iter(kept.model.items()))
    try:
        other.load_state_dict(LearnerState({**kept.model, name: np.concatenate([array, array])}, {}))
    except ConfigError:
        return
    broken(expected=f"a ConfigError for {name} in the shape of another model", got="takes it")


@promise(
    "learner",
    name="exports",
    text="What it exports predicts as it did then, for batches of any size, and to export changes nothing.",
)
def exports(subject: Subject) -> None:
    """Export it, train on, and compare, on the first and the last of the data that it takes."""
    first, *others = subject.fitting()
    for spec in (first, *others[-1:]):
        _check_export(Trial(subject, spec))


def _check_export(trial: Trial) -> None:
    learner = trial.fresh()
    trial.train(learner, 1)
    before, outputs = bits(learner.state_dict()), learner.predict(trial.inputs)
    with tempfile.TemporaryDirectory() as folder:
        predict = learner.export(Path(folder))
        require(any(Path(folder).iterdir()), expected="files in the folder", got="none")
        require(bits(learner.state_dict()) == before, expected="the state as it was", got="another")
        trial.train(learner, 4)
        mend = "the function that is returned has to read what was written"
        trial.close(predict(trial.inputs), outputs, "predictions as of the learner when it exported", mend)
        trial.close(predict(trial.inputs[:1]), outputs[:1], "the same of one sample", "let the batch size be any")


@promise(
    "learner",
    name="rates",
    each="spec",
    text="Where it can scale its learning rate, that holds, and its state keeps it.",
)
def rates(subject: Subject, spec: DataSpec) -> None:
    """Halve it."""
    trial = Trial(subject, spec)
    learner, other = trial.fresh(), trial.fresh()
    if not hasattr(learner, "scale_learning_rate"):
        raise NotApplicable("it has no scale_learning_rate, so that trainer.on_nonfinite=rollback is not for it")
    before = learner.learning_rate
    learner.scale_learning_rate(0.5)
    close = math.isclose(learner.learning_rate, before / 2, rel_tol=1e-6)
    require(close, expected=f"the rate {before / 2}", got=learner.learning_rate)
    other.load_state_dict(learner.state_dict())
    close = math.isclose(other.learning_rate, before / 2, rel_tol=1e-6)
    require(close, expected=f"the rate {before / 2} after its state was loaded", got=other.learning_rate)


@promise(
    "learner",
    name="digest",
    each="spec",
    text="Where it has a digest, that is the same for the same weights, and another for others.",
)
def digest(subject: Subject, spec: DataSpec) -> None:
    """Compare digests before and after a step."""
    trial = Trial(subject, spec)
    learner, other = trial.fresh(), trial.fresh()
    if not hasattr(learner, "digest"):
        raise NotApplicable("it has no digest, so that several devices are not for it")
    first = learner.digest()
    require(first == other.digest(), expected="the same digest of the same weights", got="another")
    trial.train(learner, 1)
    require(first != learner.digest(), expected="another digest after training", got="the same")


def _measured(state: LearnerState) -> dict[str, Array]:
    """Return the weights that are measured: averaged ones, where there are such."""
    return {name: state.optimizer.get(f"{name}/ema", array) for name, array in state.model.items()}
