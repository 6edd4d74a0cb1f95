"""Every random number of a run comes from its one seed."""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np

log = logging.getLogger("expkit")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and Paddle (CPU and GPU)."""
    import paddle

    random.seed(seed)
    np.random.seed(seed)  # for plugins that use the global generator
    paddle.seed(seed)


def generator(*entropy: int) -> np.random.Generator:
    """Return a generator that is a pure function of these numbers, such as (seed, epoch, batch).

    MT19937 seeded by a SeedSequence gives the same numbers on every platform and NumPy version.
    """
    return np.random.Generator(np.random.MT19937(np.random.SeedSequence(entropy)))


def random_state() -> dict[str, Any]:
    """Return the state of the global generators as plain values (JSON): Python's, NumPy's, Paddle's on CPU and GPU."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "paddle": {kind: _paddle_values(states[index]) for kind, states, index in _paddle_states()},
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Take back what `random_state` gave, on another GPU too; a device that had no part in it goes on as it is."""
    import paddle

    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    saved = state["paddle"]
    if isinstance(saved, list):  # as older checkpoints have it
        saved = {"cpu": saved[0]}
    for kind, states, index in _paddle_states():
        if kind in saved:
            states[index] = _paddle_state(states[index], saved[kind])
            paddle.set_rng_state(states, kind)
        else:
            log.warning("Random numbers drawn on the %s begin with the seed again: it was not used then.", kind)


class StepRandom:
    """Notes the state of the global generators before each step, so that the step can be undone.

    Paddle's generator answers in a microsecond, NumPy's and Python's take 50 times as long, and hardly a model draws
    from them: they are noted at the first step, and at the later ones if the first one used them.
    """

    def __init__(self) -> None:
        self._all: bool | None = None
        self._first: tuple[Any, Any] | None = None

    def note(self) -> tuple[Any, Any, Any]:
        """Return the states as they are now; None for those that no step uses."""
        if self._all is None and self._first is not None:
            self._all = not _same(self._first, _slow_states())
        slow = (None, None) if self._all is False else _slow_states()
        if self._first is None:
            self._first = slow
        return (_paddle_states(), *slow)

    @staticmethod
    def put_back(states: tuple[Any, Any, Any]) -> None:
        """Take back what `note` gave."""
        import paddle

        of_paddle, of_numpy, of_python = states
        for kind, devices, _ in of_paddle:
            paddle.set_rng_state(devices, kind)
        if of_numpy is not None:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


def _slow_states() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()


def _same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    (_, keys, *rest), (_, other_keys, *other_rest) = one[0], other[0]
    return np.array_equal(keys, other_keys) and rest == other_rest and one[1] == other[1]


def _paddle_states() -> list[tuple[str, list[Any], int]]:
    """Return (kind, states of all devices of the kind, which of them is used) for the CPU, and a GPU that is used."""
    import paddle

    core = paddle.base.core
    if isinstance(paddle.framework._current_expected_place_(), core.CPUPlace):
        # `get_rng_state` comes to the same in twice the time, and it is asked for at each step.
        return [("cpu", [core.default_cpu_generator().get_state()], 0)]
    kind, _, index = str(paddle.get_device()).partition(":")
    cpu, used = paddle.get_rng_state("cpu"), paddle.get_rng_state(kind)
    return [("cpu", list(cpu), 0), (kind, list(used), int(index or 0))]


def _paddle_state(current: Any, values: list[Any]) -> Any:
    """Make a state of values, for the device of the current one."""
    _, seed, offset, engine = values
    # A new object, as unpickling makes one: __setstate__ does nothing to one that has a state.
    kind: Any = type(current)
    made = kind.__new__(kind)
    made.__setstate__((current.__getstate__()[0], seed, offset, list(engine.encode())))
    return made


def _paddle_values(state: Any) -> list[Any]:
    # The engine is the text form of a std::mt19937_64, handed out as a list of character codes.
    device, seed, offset, engine = state.__getstate__()
    return [device, seed, offset, bytes(engine).decode()]
