"""Two checkpoints, compared bit by bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from expkit.snapshot import Snapshot
from expkit.spec import Array

TENSORS = {"weights": "model", "optimizer": "optimizer"}
LONGEST = 60


@dataclass(frozen=True)
class StateDifference:
    """A part of the state that is not the same.

    Attributes:
        place: such as "weights, head.weight[0, 3]" or "callbacks.early_stopping.waited".
        then: the value of the first one, in words.
        now: the value of the second.
        extent: how much of it differs; empty where it is one value.
    """

    place: str
    then: str
    now: str
    extent: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: {self.then} -> {self.now}" + (f" ({self.extent})" if self.extent else "")


def compare_states(then: Snapshot, now: Snapshot) -> list[StateDifference]:
    """Return what differs: weights, optimizer, schedule, progress, callbacks, meters, random state.

    Of a tensor, and of each part of the rest, the first value that differs is named. Which run a checkpoint is of, and
    what the tracking store had not taken yet, are no part of the state.
    """
    found: list[StateDifference] = []
    for what, attribute in TENSORS.items():
        mine, theirs = getattr(then.learner, attribute), getattr(now.learner, attribute)
        for name in dict.fromkeys((*mine, *theirs)):
            found += _tensors(f"{what}, {name}", mine.get(name), theirs.get(name))
    rest = [_rest(snapshot) for snapshot in (then, now)]
    for key in dict.fromkeys((*rest[0], *rest[1])):
        found += list(_plain(key, rest[0].get(key), rest[1].get(key)))[:1]
    return found


def count_states(snapshot: Snapshot) -> str:
    """Say what was compared: "8 tensors of the weights, 18 of the optimizer, random state, ..."."""
    rest = dict.fromkeys(key.partition(".")[0] for key in _rest(snapshot))
    learner = snapshot.learner
    return f"{len(learner.model)} tensors of the weights, {len(learner.optimizer)} of the optimizer, {', '.join(rest)}"


def _rest(snapshot: Snapshot) -> dict[str, Any]:
    """Return the parts of the state that are no tensors, by name."""
    parts = {
        "progress": {"": snapshot.progress},
        "learner": snapshot.learner.extra,
        "callbacks": snapshot.callbacks,
        "meters": snapshot.meters,
        "random": snapshot.random,
    }
    return {f"{part}.{key}".rstrip("."): value for part, values in parts.items() for key, value in values.items()}


def _tensors(place: str, then: Array | None, now: Array | None) -> Iterator[StateDifference]:
    if then is None or now is None or (then.shape, then.dtype) != (now.shape, now.dtype):
        yield StateDifference(place, _kind(then), _kind(now))
        return
    bytes_of_each = [
        np.frombuffer(np.ascontiguousarray(one).tobytes(), np.uint8).reshape(one.size, -1) for one in (then, now)
    ]
    other = np.flatnonzero((bytes_of_each[0] != bytes_of_each[1]).any(axis=1))
    if len(other):
        first = np.unravel_index(other[0], then.shape)
        index = f"[{', '.join(str(int(i)) for i in first)}]" if then.shape else ""
        extent = f"{len(other):,} of {then.size:,} values differ"
        yield StateDifference(f"{place}{index}", repr(then[first].item()), repr(now[first].item()), extent)


def _plain(place: str, then: Any, now: Any) -> Iterator[StateDifference]:
    """Yield the values that differ in two trees as JSON has them; NaN equals NaN."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from _plain(f"{place}.{key}", then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(then, now, strict=True)):
            yield from _plain(f"{place}[{number}]", *pair)
    elif json.dumps(then) != json.dumps(now):
        yield StateDifference(place, _short(then), _short(now))


def _kind(array: Array | None) -> str:
    return "nothing" if array is None else f"{list(array.shape)} {array.dtype}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
