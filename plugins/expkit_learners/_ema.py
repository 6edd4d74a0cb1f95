"""An exponential moving average of a model's weights, kept in a second model that is there to be measured."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import _C_ops, nn

from expkit.api import Array, ConfigError

SLOT = "/ema"
"""Ends the name of an averaged weight among a learner's accumulators: "head.weight/ema"."""


class Average:
    """Follows the weights of a model: after each update, average <- average + (1 - decay) (weight - average).

    Written so, what never changes (a frozen weight) stays the same to the last bit. Running statistics are averaged as
    weights are, as timm's ModelEmaV3 does: those of the raw weights do not fit the averaged ones. What has no fraction,
    such as a counter, is copied. With a warm-up, update t (from 0) uses min(decay, (1 + t) / (10 + t)), as TensorFlow's
    `tf.train.ExponentialMovingAverage` does, so that the untrained weights are soon forgotten.

    Args:
        model: whose weights are followed.
        build: returns another such model; global generators are left as they were.
        decay: share of the average that is kept.
        warmup: whether the first updates keep less.

    Attributes:
        model: holds the average, in evaluation mode.
        updates: how many were made.

    Raises:
        ConfigError: the decay is out of range.
    """

    def __init__(self, model: nn.Layer, build: Callable[[], nn.Layer], *, decay: float, warmup: bool) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"learner.ema={decay}: must be above 0 and below 1, or null for no average.")
        self._source, self._decay, self._warmup = model, decay, warmup
        with _undisturbed():
            self.model = build()
        self.model.eval()
        kinds = {tensor.dtype for tensor in self.model.state_dict().values()}
        self._floats = kinds & {paddle.float32, paddle.float64}
        self._weights: tuple[float, dict[Any, Any]] = (decay, {})
        self.restart()

    def restart(self) -> None:
        """Begin anew with the weights as they are."""
        self.model.set_state_dict(self._source.state_dict())
        self.updates = 0

    @paddle.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        weights = self._next_weights()
        # Looked up each time, since a model may put another tensor in a buffer's place; a tensor may have two names.
        source, own = self._source.state_dict(), self.model.state_dict()
        for average, now in {id(own[name]): (own[name], now) for name, now in source.items()}.values():
            if average.dtype in weights:
                # A step of gradient descent on (average - now)^2 / 2: twice as fast as `lerp` on small tensors.
                _C_ops.sgd_(average, weights[average.dtype], _C_ops.subtract(average, now), None, False)
            else:
                average.set_value(now)
        self.updates += 1

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of all that is averaged, by "<name>/ema"."""
        return {f"{name}{SLOT}": tensor.numpy().copy() for name, tensor in self.model.state_dict().items()}

    def load_state_dict(self, arrays: Mapping[str, Array], updates: int) -> None:
        """Take back what `state_dict` gave, and the number of updates."""
        names = self.model.state_dict()
        self.model.set_state_dict({name: paddle.to_tensor(arrays[f"{name}{SLOT}"]) for name in names})
        self.updates = updates

    def _next_weights(self) -> Mapping[Any, Any]:
        """Return by dtype the share of the new weights in the next update."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates)) if self._warmup else self._decay
        if self._weights[0] != decay or not self._weights[1]:
            self._weights = decay, {kind: paddle.full([], 1 - decay, kind) for kind in self._floats}
        return self._weights[1]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put the global generators back, so that training with an average starts and goes as without."""
    states = paddle.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        paddle.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
