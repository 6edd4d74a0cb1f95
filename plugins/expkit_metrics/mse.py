"""The mean squared error."""

import numpy as np

from expkit.api import Array, DataSpec

from ._residuals import check_target, own_scale, residuals


class MeanSquaredError:
    """Squared difference of outputs and targets, mean over samples and outputs.

    Args:
        spec: supplied; targets must be values, or the model must have one output.
        own_unit: measure in the target's own unit, squared (1000 dollars), not in normalised numbers.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = MeanSquaredError(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        2.5
    """

    higher_is_better = False

    def __init__(self, spec: DataSpec, *, own_unit: bool = False):
        check_target("mse", spec)
        self._scale = own_scale(spec, own_unit)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._sum = 0.0
        self._count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets [N, K] float32 (or classes [N] when K is 1) of one batch.

        Raises:
            ConfigError: the shapes differ.
        """
        difference = residuals("mse", outputs, targets) * self._scale
        self._sum += float(np.square(difference).sum())
        self._count += difference.size

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return self._sum / self._count if self._count else float("nan")
