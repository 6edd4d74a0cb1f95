"""The share of right answers."""

import numpy as np

from expkit.api import Array, ConfigError, DataSpec

from ._classes import check_target, true_classes
from ._share import ShareOfRight


class Accuracy(ShareOfRight):
    """Share of samples whose class is the model's first choice, or among its first `top_k`.

    Of equal outputs, the class with the lower number comes first. Of targets that are shares [N, K], the class with
    the largest share is the true one.

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

    def __init__(self, spec: DataSpec, *, top_k: int = 1):
        check_target("accuracy", spec)
        if not 1 <= top_k <= spec.outputs:
            raise ConfigError(
                f"metrics.accuracy.top_k={top_k}: must be from 1 to {spec.outputs}, the number of classes."
            )
        self._top_k = top_k
        super().__init__()

    def _are_right(self, outputs: Array, targets: Array) -> Array:
        classes = true_classes("accuracy", outputs, targets)
        if self._top_k == 1:
            return outputs.argmax(axis=1) == classes
        choices = np.argsort(-outputs, axis=1, kind="stable")[:, : self._top_k]
        return (choices == classes[:, None]).any(axis=1)
