"""What a dataset promises."""

from __future__ import annotations

import json
import pickle
import re
import threading
from typing import Any

import numpy as np

from expkit.api import Array, Data, Split, Values
from expkit.seeding import random_state, seed_everything
from expkit.testing.promises import promise
from expkit.testing.report import broken, require
from expkit.testing.subject import Subject

SPLITS = ("train", "valid", "test")
SAMPLES = 64


def _data(subject: Subject) -> Data:
    data = subject.made()
    require(isinstance(data, Data), expected="an expkit.api.Data", got=f"a {type(data).__name__}")
    found: Data = data
    return found


def _indices(split: Split) -> Array:
    """Return some indices of a split, the last ones first, and one of them twice."""
    spread = np.unique(np.linspace(0, len(split) - 1, num=min(SAMPLES, len(split)), dtype=np.int64))[::-1]
    return np.concatenate([spread, spread[:1]])


def _same(one: tuple[Array, Array], other: tuple[Array, Array]) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


@promise("dataset", name="returns", text="It returns a Data: a spec and three splits.")
def returns(subject: Subject) -> None:
    """Look at its class."""
    _data(subject)


@promise(
    "dataset", name="spec", text="Its spec has a name, a source, outputs, unique labels, and is described in JSON."
)
def spec(subject: Subject) -> None:
    """Look at the spec."""
    told = _data(subject).spec
    named = bool(told.name and told.source.kind and told.source.location)
    require(named, expected="a name, and the kind and location of its source", got=f"{told.name!r}, {told.source}")
    require(told.outputs >= 1, expected="at least one output", got=told.outputs)
    require(len(set(told.labels)) == len(told.labels), expected="labels that are unique", got=told.labels)
    for part in (told.input, told.target):
        described = part.describe()
        same = json.loads(json.dumps(described, allow_nan=False)) == described
        require(same, expected=f"{type(part).__name__}.describe() of plain values", got=described)


@promise("dataset", name="fingerprint", text="Its fingerprint is a SHA-256 in hex, and the same for the same data.")
def fingerprint(subject: Subject) -> None:
    """Look at it."""
    found = _data(subject).spec.fingerprint
    right = isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) is not None
    require(
        right, expected="64 hexadecimal digits", got=repr(found), mend="hashlib.sha256(...).hexdigest() of all splits"
    )


@promise(
    "dataset", name="inputs", text="Each split has samples, whose inputs are normalised to the spec's shape and dtype."
)
def inputs(subject: Subject) -> None:
    """Normalise some of each split."""
    data = _data(subject)
    for name in SPLITS:
        split = getattr(data, name)
        require(len(split) > 0, expected=f"samples in split {name}", got="none")
        chosen = _indices(split)
        normal = data.spec.input.normalise(split.gather(chosen)[0])
        wanted = (len(chosen), *data.spec.input_shape)
        right = normal.shape == wanted and str(normal.dtype) == data.spec.input_dtype
        got = f"{normal.dtype} {normal.shape} in split {name}"
        require(right, expected=f"{data.spec.input_dtype} {wanted}", got=got)
        require(bool(np.isfinite(normal).all()), expected="finite inputs", got=f"NaN or infinity in split {name}")


@promise(
    "dataset",
    name="targets",
    text="Targets are int64 classes within the labels, or finite values of the spec's precision.",
)
def targets(subject: Subject) -> None:
    """Look at some of each split."""
    data = _data(subject)
    told = data.spec
    for name in SPLITS:
        split = getattr(data, name)
        chosen = _indices(split)
        found = split.gather(chosen)[1]
        shape: tuple[int, ...] = (len(chosen),)
        dtype = "int64"
        if isinstance(told.target, Values):
            shape, dtype = (len(chosen), told.outputs), told.target.precision
        right = found.shape == shape and str(found.dtype) == dtype
        require(right, expected=f"{dtype} {shape}", got=f"{found.dtype} {found.shape} in split {name}")
        if told.is_classification:
            within = bool((found >= 0).all() and (found < told.outputs).all())
            got = f"{found.min()} to {found.max()} in split {name}"
            require(within, expected=f"classes within 0..{told.outputs - 1}", got=got)
        else:
            require(bool(np.isfinite(found).all()), expected="finite targets", got=f"others in split {name}")


@promise(
    "dataset",
    name="gather",
    text="gather() returns copies of the samples that are asked for, in that order, each time.",
)
def gather(subject: Subject) -> None:
    """Gather twice, write into the first answer, ask for single samples, and ask in another thread."""
    data = _data(subject)
    for name in SPLITS:
        split = getattr(data, name)
        chosen = _indices(split)
        first = split.gather(chosen)
        kept = first[0].copy(), first[1].copy()
        for array in first:
            if array.flags.writeable:
                array[...] = 0
        require(_same(split.gather(chosen), kept), expected=f"the same of split {name} again, as copies", got="others")
        for place in (0, len(chosen) // 2, len(chosen) - 1):
            one = split.gather(chosen[place : place + 1])
            same = np.array_equal(one[0][0], kept[0][place]) and np.array_equal(one[1][0], kept[1][place])
            require(same, expected=f"samples of split {name} in the order of the indices", got="another order")
        require(_same(_in_thread(split, chosen), kept), expected=f"the same of split {name} in a thread", got="others")


def _in_thread(split: Split, chosen: Array) -> tuple[Array, Array]:
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(split.gather(chosen))
        except Exception as error:  # noqa: BLE001 - of a plugin's code; raised again by the caller
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    if isinstance(answers[0], Exception):
        got = f"{type(answers[0]).__name__}: {answers[0]}"
        broken(
            expected="gather() that works in another thread", got=got, mend="dataset.loading=prefetch calls it there"
        )
    found: tuple[Array, Array] = answers[0]
    return found


@promise(
    "dataset", name="deterministic", text="Two that are built of the same options are equal, whatever the global seed."
)
def deterministic(subject: Subject) -> None:
    """Build it again from another global seed."""
    first = _data(subject)
    seed_everything(12345)
    second = subject.make()
    mend = "draw from a generator of your own that an option seeds"
    same = first.spec.fingerprint == second.spec.fingerprint
    require(same, expected=f"the fingerprint {first.spec.fingerprint}", got=second.spec.fingerprint, mend=mend)
    for name in SPLITS:
        one, other = getattr(first, name), getattr(second, name)
        require(len(one) == len(other), expected=f"{len(one)} samples in split {name}", got=len(other), mend=mend)
        chosen = _indices(one)
        same = _same(one.gather(chosen), other.gather(chosen))
        require(same, expected=f"the same samples in split {name}", got="others", mend=mend)


@promise("dataset", name="own_random", text="To build it and to gather draws from no global generator.")
def own_random(subject: Subject) -> None:
    """Compare the global generators before and after."""
    before = random_state()
    if not subject.given:
        subject.make()
    data = _data(subject)
    for name in SPLITS:
        getattr(data, name).gather(_indices(getattr(data, name)))
    names = [name for name, state in random_state().items() if state != before[name]]
    mend = "draw from a generator of your own that an option seeds"
    require(
        not names, expected="no global random number drawn", got=f"draws from that of {', '.join(names)}", mend=mend
    )


@promise(
    "dataset", name="pickles", text="Its splits can be pickled, for worker processes, and then give the same samples."
)
def pickles(subject: Subject) -> None:
    """Pickle them, as far as they are not large."""
    data = _data(subject)
    mend = "open files in gather(), not in the constructor, and keep no lambda or lock"
    for name in SPLITS:
        split = getattr(data, name)
        chosen = _indices(split)
        try:
            other = pickle.loads(pickle.dumps(split))
        except Exception as error:  # noqa: BLE001 - pickle raises what it likes
            got = f"{type(error).__name__}: {error}, of split {name}"
            broken(expected="splits that can be pickled", got=got, mend=mend)
        require(_same(split.gather(chosen), other.gather(chosen)), expected=f"the same of split {name}", got="others")
