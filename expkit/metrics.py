"""Running means of the loss and the chosen metrics over batches."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from expkit import registry
from expkit.api import Metric, StepResult
from expkit.errors import ConfigError, ExpkitError, PluginError
from expkit.spec import Array

ARRAY = "array of"
"""Key by which an array is known among packed values."""


class Meter:
    """Gathers the loss and the metrics of many batches.

    Args:
        metrics: by name; the meter resets and updates them, so each meter needs its own.

    Raises:
        ConfigError: a metric is called "loss", the name of what is measured anyway.
        PluginError: one is no metric.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        if "loss" in metrics:
            raise ConfigError("a metric is called 'loss', which is measured anyway. Give the metric another name.")
        for name, metric in metrics.items():
            lacking = [part for part in _PARTS if not hasattr(metric, part)]
            if lacking:
                raise PluginError(
                    f"metric {name!r}{_owner(metric)} has no {' and no '.join(lacking)}. A "
                    f"metric has {', '.join(_PARTS)}: see expkit.api.Metric."
                )
        self._metrics = metrics
        self._merging = {name: _merge_of(metric) for name, metric in metrics.items()}
        self.reset()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Direction of each value that `compute` returns; the metrics first, the loss last."""
        return {**{name: metric.higher_is_better for name, metric in self._metrics.items()}, "loss": False}

    def reset(self) -> None:
        """Forget all batches."""
        self._loss, self._samples = 0.0, 0
        for metric in self._metrics.values():
            metric.reset()

    def update(self, result: StepResult, targets: Array) -> None:
        """Take in one batch."""
        self._loss += result.loss * len(targets)
        self._samples += len(targets)
        for name, metric in self._metrics.items():
            try:
                metric.update(result.outputs, targets)
            except Exception as error:  # a plugin's code
                before = self._samples - len(targets)
                batch = f"the batch of {len(targets)} samples after {before:,} others (outputs {_shape(result.outputs)}"
                raise _failed(name, metric, f"update with {batch}, targets {_shape(targets)})", error) from error

    def merge(self, batch: Meter, result: StepResult, targets: Array) -> None:
        """Take in one batch that another meter with the same metrics has taken in, and nothing else.

        Args:
            batch: that meter; metrics that can are spared from looking at the batch again.
            result: of the batch.
            targets: of the batch.
        """
        self._loss += result.loss * len(targets)
        self._samples += len(targets)
        for name, merge in self._merging.items():
            metric = self._metrics[name]
            try:
                if merge is None:
                    metric.update(result.outputs, targets)
                else:
                    merge(batch._metrics[name])
            except Exception as error:  # a plugin's code
                raise _failed(name, metric, "update" if merge is None else "merge", error) from error

    def compute(self, prefix: str = "") -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...} over all batches since the reset, each name after the prefix.

        Every value is NaN when there were none.
        """
        values = {"loss": self._loss / self._samples if self._samples else math.nan}
        values.update({name: self._value(name, metric) for name, metric in self._metrics.items()})
        return {prefix + name: value for name, value in values.items()}

    def _value(self, name: str, metric: Metric) -> float:
        try:
            value = metric.compute()
            if isinstance(value, (str, bytes)):
                raise TypeError(f"its value is {value!r}, which is no number")
            return float(value)
        except Exception as error:  # a plugin's code
            raise _failed(name, metric, f"compute after {self._samples:,} samples", error) from error

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered since the reset as plain values (JSON), exact to the last bit.

        Raises:
            PluginError: the state of a metric holds what cannot be kept.
        """
        metrics = {}
        for name, metric in self._metrics.items():
            if hasattr(metric, "state_dict"):
                try:
                    metrics[name] = packed(metric.state_dict())
                except TypeError as error:
                    raise PluginError(f"metric {name!r}: its state_dict holds {error}.") from error
        return {"loss": float(self._loss), "samples": self._samples, "metrics": metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> tuple[str, ...]:
        """Take back what `state_dict` gave; an empty state is that of a reset.

        Returns:
            Names of the metrics that the state says nothing of, which begin anew.
        """
        self.reset()
        if not state:
            return tuple(self._metrics)
        self._loss, self._samples = float(state["loss"]), int(state["samples"])
        kept = {name: metric for name, metric in self._metrics.items() if name in state["metrics"]}
        for name, metric in kept.items():
            metric.load_state_dict(unpacked(state["metrics"][name]))  # type: ignore[attr-defined]  # it has given it
        return tuple(name for name in self._metrics if name not in kept)


def _merge_of(metric: Metric) -> Any:
    """Return a metric's `merge`; None where a class below the one that brings it gathers in a way of its own."""
    made = type(metric).__mro__
    owner = next((cls for cls in made if "merge" in vars(cls)), None)
    if owner is None:
        return None
    below = made[: made.index(owner)]
    return None if any({"reset", "update"} & vars(cls).keys() for cls in below) else metric.merge  # type: ignore[attr-defined]


def _failed(name: str, metric: Metric, where: str, error: Exception) -> ExpkitError:
    """Name the metric that raised; an error that is meant for the user is handed on as it is."""
    if isinstance(error, ExpkitError):
        return error
    return PluginError(
        f"metric {name!r}{_owner(metric)} failed in {where}: {type(error).__name__}: {error}. "
        "EXPKIT_DEBUG=1 shows the traceback."
    )


def _owner(metric: Metric) -> str:
    made = type(metric)
    return registry.owner_of("metric", f"{made.__module__}.{made.__qualname__}")


_PARTS = ("reset", "update", "compute", "higher_is_better")


def _shape(values: Array) -> str:
    return f"{list(np.shape(values))} {getattr(values, 'dtype', type(values).__name__)}"


def packed(value: Any) -> Any:
    """Turn plain values and arrays into JSON; arrays become base64 of their bytes.

    Raises:
        TypeError: something is neither; names it.
    """
    if isinstance(value, Mapping):
        return {str(key): packed(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        content = base64.b64encode(value.tobytes()).decode()
        return {ARRAY: value.dtype.str, "shape": list(value.shape), "base64": content}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__}, but may hold numbers, texts, lists, dicts and arrays of numbers only")


def unpacked(value: Any) -> Any:
    """Take back what `packed` gave; a scalar of NumPy's comes back as one, and a tuple as a list."""
    if isinstance(value, Mapping):
        if ARRAY not in value:
            return {key: unpacked(inner) for key, inner in value.items()}
        flat = np.frombuffer(base64.b64decode(value["base64"]), np.dtype(value[ARRAY]))
        return flat.reshape(value["shape"]).copy()[()]
    return [unpacked(inner) for inner in value] if isinstance(value, list) else value
