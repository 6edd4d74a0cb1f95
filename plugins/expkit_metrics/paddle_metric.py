"""Metrics of `paddle.metric`, and others with its methods."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import paddle

from expkit.api import Array, Classes, ConfigError, DataSpec

OUTPUTS = ("auto", "as_is", "probabilities", "second")
_USUAL = {"Precision": "second", "Recall": "second", "Auc": "probabilities"}
"""What Paddle's own metrics of two classes take."""


class PaddleMetric:
    """A `paddle.metric.Metric` as it is: Accuracy with its top k, Precision, Recall, Auc, or your own.

    It is called as `paddle.Model` does: `update(*compute(outputs, labels))`, then `accumulate`. Labels of classes are
    [N, 1] int64; of shares of classes, the largest one. Before the first batch its value is NaN.

    Args:
        spec: supplied.
        of: the metric, as `_target_` (package.module.Name) and its arguments; built by then.
        outputs: what it is shown of the model's answers: as_is [N, K], probabilities [N, K], second ([N, 1], the
            probability of the second of two classes), or auto, which is right for Paddle's own.
        item: which value counts, of a metric that gives several, such as Accuracy with topk=[1,5]; counts from 0.
        higher_is_better: direction of "best".

    Raises:
        ConfigError: there is no metric, or an option does not fit the data.

    Example:
        >>> PaddleMetric(spec, of=paddle.metric.Accuracy(topk=(1, 5)), item=1)  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        of: dict[str, object] = {},  # noqa: B006 - an option's default is a plain value; only read
        outputs: Literal["auto", "as_is", "probabilities", "second"] = "auto",
        item: int = 0,
        higher_is_better: bool = True,
    ):
        lacks = [name for name in ("compute", "update", "accumulate", "reset") if not hasattr(of, name)]
        if isinstance(of, dict) or lacks:
            raise ConfigError(
                f"metrics.paddle_metric.of is {'missing' if of == {} else f'a {type(of).__name__}'}; expected a "
                "paddle.metric.Metric: metrics.paddle_metric.of._target_=paddle.metric.Accuracy."
            )
        if outputs not in OUTPUTS:
            raise ConfigError(f"metrics.paddle_metric.outputs={outputs!r}: must be one of {', '.join(OUTPUTS)}.")
        usual = _USUAL.get(type(of).__name__, "as_is") if spec.is_classification else "as_is"
        self._shown = usual if outputs == "auto" else outputs
        classes = spec.target if isinstance(spec.target, Classes) else None
        if self._shown != "as_is" and classes is None:
            raise ConfigError(
                f"metrics.paddle_metric.outputs={outputs} needs classes; targets of {spec.name} are numbers."
            )
        if (self._shown == "second" or type(of).__name__ == "Auc") and spec.outputs != 2:
            raise ConfigError(
                f"metrics.paddle_metric: {type(of).__name__} is for two classes; {spec.name} has {spec.outputs}. "
                "Choose metrics=[precision], [recall] or [auc] of expkit, which are for any number."
            )
        self.higher_is_better = higher_is_better
        self._metric: Any = of
        self._target, self._item = classes, item
        self.reset()
        if all(map(_is_plain, vars(of).values())):  # else it cannot be kept in a checkpoint, and says so by having none
            self.state_dict, self.load_state_dict = self._state, self._load

    def reset(self) -> None:
        """Forget all batches."""
        self._metric.reset()
        self._samples = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and classes [N], shares [N, K] or values [N, K] of one batch."""
        self._samples += len(targets)
        if self._target is not None:
            targets = (targets if targets.ndim == 1 else targets.argmax(axis=1)).astype(np.int64)[:, None]
            if self._shown != "as_is":
                outputs = self._target.probabilities(outputs).astype(np.float32)
                outputs = outputs[:, 1:] if self._shown == "second" else outputs
        with paddle.no_grad():
            found = self._metric.compute(paddle.to_tensor(outputs.copy()), paddle.to_tensor(targets.copy()))
            found = found if isinstance(found, (tuple, list)) else (found,)
            self._metric.update(*(f.numpy() if isinstance(f, paddle.Tensor) else f for f in found))

    def compute(self) -> float:
        """Value over all batches; NaN when there were none.

        Raises:
            ConfigError: there is no value of that number.
        """
        if not self._samples:
            return float("nan")
        value = self._metric.accumulate()
        if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value):
            if not 0 <= self._item < len(value):
                raise ConfigError(f"metrics.paddle_metric.item={self._item}: must be from 0 to {len(value) - 1}.")
            value = value[self._item]
        return float(value)

    def _state(self) -> dict[str, Any]:
        return {"samples": self._samples, "metric": deepcopy(vars(self._metric))}

    def _load(self, state: Mapping[str, Any]) -> None:
        self._samples = int(state["samples"])
        vars(self._metric).update(deepcopy(dict(state["metric"])))


def _is_plain(value: Any) -> bool:
    """Say whether a checkpoint can hold a value."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, (bool, int, float, str))
