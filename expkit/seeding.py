"""Every random number of a run comes from its one seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np


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
    """Return the state of the three global generators as plain values (JSON)."""
    import paddle

    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "paddle": [_paddle_values(state) for state in paddle.get_rng_state()],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Take back what `random_state` gave."""
    import paddle

    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    restored = []
    for current, values in zip(paddle.get_rng_state(), state["paddle"], strict=True):
        device, seed, offset, engine = values
        # A new object, as unpickling makes one: __setstate__ does nothing to one that has a state.
        kind: Any = type(current)
        made = kind.__new__(kind)
        made.__setstate__((device, seed, offset, list(engine.encode())))
        restored.append(made)
    paddle.set_rng_state(restored)


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
        import paddle

        if self._all is None and self._first is not None:
            self._all = not _same(self._first, _slow_states())
        slow = (None, None) if self._all is False else _slow_states()
        if self._first is None:
            self._first = slow
        return (paddle.get_rng_state(), *slow)

    @staticmethod
    def put_back(states: tuple[Any, Any, Any]) -> None:
        """Take back what `note` gave."""
        import paddle

        of_paddle, of_numpy, of_python = states
        paddle.set_rng_state(of_paddle)
        if of_numpy is not None:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


def _slow_states() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()


def _same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    (_, keys, *rest), (_, other_keys, *other_rest) = one[0], other[0]
    return np.array_equal(keys, other_keys) and rest == other_rest and one[1] == other[1]


def _paddle_values(state: Any) -> list[Any]:
    # The engine is the text form of a std::mt19937_64, handed out as a list of character codes.
    device, seed, offset, engine = state.__getstate__()
    return [device, seed, offset, bytes(engine).decode()]
