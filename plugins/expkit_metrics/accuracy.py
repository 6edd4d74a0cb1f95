"""The share of right answers."""

import numpy as np

from expkit.api import Array, ConfigError, DataSpec


class Accuracy:
    """Share of samples whose class is the model's first choice, or among its first `top_k`.

    Of equal logits, the class with the lower number comes first.

    Args:
        spec: supplied; targets must be classes.
        top_k: how many of the model's choices count, from 1 to the number of classes.

    Raises:
        ConfigError: the targets are no classes; top_k is out of range.

    Example:
        >>> metric = Accuracy(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.5
    """

    higher_is_better = True

    def __init__(self, spec: DataSpec, *, top_k: int = 1):
        if not spec.is_classification:
            raise ConfigError(
                f"metrics=accuracy needs classes, but the targets of {spec.name} are numbers. "
                "Choose metrics=mse or metrics=mae."
            )
        if not 1 <= top_k <= spec.outputs:
            raise ConfigError(
                f"metrics.accuracy.top_k={top_k}: must be from 1 to {spec.outputs}, the number of classes."
            )
        self._top_k = top_k
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._right = 0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in logits [N, K] and classes [N] of one batch.

        Raises:
            ConfigError: a shape is another one.
        """
        if targets.ndim != 1 or outputs.ndim != 2 or len(outputs) != len(targets):
            raise ConfigError(
                f"metrics=accuracy needs logits [N, K] and classes [N], but the model answered "
                f"{list(outputs.shape)} to targets {list(targets.shape)}."
            )
        if self._top_k == 1:
            right = outputs.argmax(axis=1) == targets
        else:
            choices = np.argsort(-outputs, axis=1, kind="stable")[:, : self._top_k]
            right = (choices == targets[:, None]).any(axis=1)
        self._right += int(np.count_nonzero(right))
        self._count += len(targets)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return self._right / self._count if self._count else float("nan")
