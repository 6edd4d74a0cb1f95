"""What a transform promises."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from expkit.api import Array, Batch, DataSpec
from expkit.seeding import random_state
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import broken, require
from expkit.testing.subject import Subject


def _batches(spec: DataSpec) -> Iterator[Batch]:
    """Yield batches of two sizes, with classes also as shares."""
    for samples in (7, 1):
        batch = example_batch(spec, samples=samples)
        yield batch
        if spec.is_classification:
            yield replace(batch, targets=np.eye(spec.outputs, dtype=np.float32)[batch.targets])


def _call(transform: Any, batch: Batch, seed: int = 7) -> Batch:
    found = transform(batch, np.random.default_rng(seed))
    require(isinstance(found, Batch), expected="a Batch", got=f"a {type(found).__name__}")
    answer: Batch = found
    return answer


def _equal(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.inputs, other.inputs) and np.array_equal(one.targets, other.targets)


@promise("transform", name="pure", each="spec", text="It does not write into the batch that it is given.")
def pure(subject: Subject, spec: DataSpec) -> None:
    """Compare the batch before and after, which can be written to."""
    for batch in _batches(spec):
        kept = Batch(batch.inputs.copy(), batch.targets.copy())
        _call(subject.made(spec), batch)
        require(_equal(batch, kept), expected="the batch as it was", got="another", mend="write into a copy")


@promise("transform", name="deterministic", each="spec", text="It is a function of batch and generator alone.")
def deterministic(subject: Subject, spec: DataSpec) -> None:
    """Repeat a batch, after another one, and with another transform of the same options."""
    transform = subject.made(spec)
    for batch in _batches(spec):
        generators = [np.random.default_rng(7) for _ in range(3)]
        first = transform(batch, generators[0])
        _call(transform, example_batch(spec, samples=3, seed=5), seed=8)
        again, built = transform(batch, generators[1]), subject.make(spec)(batch, generators[2])
        mend = "draw from the generator that is given, and keep nothing between calls"
        for what, other in (("when it is called again", again), ("of another one of the same options", built)):
            require(_equal(first, other), expected=f"the same result {what}", got="another", mend=mend)
        states = [str(generator.bit_generator.state) for generator in generators]
        require(len(set(states)) == 1, expected="as many random numbers drawn each time", got="others", mend=mend)


@promise(
    "transform", name="own_random", each="spec", text="It draws from the generator it is given, from no global one."
)
def own_random(subject: Subject, spec: DataSpec) -> None:
    """Compare the global generators before and after."""
    before = random_state()
    for batch in _batches(spec):
        _call(subject.made(spec), batch)
    names = [name for name, state in random_state().items() if state != before[name]]
    mend = "draw from the generator that is given: each step could not be replayed"
    require(
        not names, expected="no global random number drawn", got=f"draws from that of {', '.join(names)}", mend=mend
    )


@promise(
    "transform", name="inputs", each="spec", text="It keeps number, dtype and shape of the inputs; they are finite."
)
def inputs(subject: Subject, spec: DataSpec) -> None:
    """Normalise what it returns."""
    for batch in _batches(spec):
        out = _call(subject.made(spec), batch)
        got = f"{out.inputs.dtype} {out.inputs.shape}"
        same = out.inputs.dtype == batch.inputs.dtype and len(out.inputs) == len(out.targets) == len(batch.inputs)
        require(same, expected=f"{batch.inputs.dtype}, {len(batch.inputs)} samples", got=got)
        normal = spec.input.normalise(out.inputs)
        wanted = (len(batch.inputs), *spec.input_shape)
        require(normal.shape == wanted, expected=f"inputs that normalise to {wanted}", got=normal.shape)
        bad = int((~np.isfinite(normal)).sum())
        require(bad == 0, expected="finite inputs", got=f"NaN or infinity in {bad} of {normal.size}")


@promise(
    "transform",
    name="targets",
    each="spec",
    text="It leaves targets as they are, or makes classes shares of classes that sum to 1; it takes such shares, too.",
)
def targets(subject: Subject, spec: DataSpec) -> None:
    """Look at the targets that it returns."""
    for batch in _batches(spec):
        _check_targets(spec, batch.targets, _call(subject.made(spec), batch).targets)


def _check_targets(spec: DataSpec, before: Array, after: Array) -> None:
    same = after.dtype == before.dtype and after.shape == before.shape
    got, as_they_were = f"{after.dtype} {after.shape}", f"{before.dtype} {before.shape} as they were"
    if not spec.is_classification:
        require(same, expected=as_they_were, got=got)
        return
    if same and after.ndim == 1:
        within = bool((after >= 0).all() and (after < spec.outputs).all())
        require(within, expected=f"classes within 0..{spec.outputs - 1}", got=f"{after.min()} to {after.max()}")
        return
    shape = (len(before), spec.outputs)
    right = after.dtype == np.float32 and after.shape == shape
    require(right, expected=f"{as_they_were}, or shares float32 {shape}", got=got)
    sums = after.sum(axis=1, dtype=np.float64)
    whole = bool((after >= 0).all() and np.allclose(sums, 1, rtol=0, atol=1e-5))
    require(whole, expected="shares from 0 that add up to 1 in each row", got=f"sums from {sums.min()} to {sums.max()}")


@promise(
    "transform", name="pickles", each="spec", text="It can be pickled, for worker processes, and then does the same."
)
def pickles(subject: Subject, spec: DataSpec) -> None:
    """Pickle it, and compare what the two make."""
    transform = subject.made(spec)
    mend = "keep no lambda, open file, lock or module in it"
    try:
        other = pickle.loads(pickle.dumps(transform))
    except Exception as error:  # noqa: BLE001 - pickle raises what it likes
        broken(expected="a transform that can be pickled", got=f"{type(error).__name__}: {error}", mend=mend)
    batch = example_batch(spec)
    require(_equal(_call(transform, batch), _call(other, batch)), expected="the same result", got="another", mend=mend)


@uses("transform")
def _use(spec: DataSpec | None, transform: Any) -> None:
    assert spec is not None
    _call(transform, example_batch(spec))
