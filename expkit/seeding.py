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


def _paddle_values(state: Any) -> list[Any]:
    # The engine is the text form of a std::mt19937_64, handed out as a list of character codes.
    device, seed, offset, engine = state.__getstate__()
    return [device, seed, offset, bytes(engine).decode()]
