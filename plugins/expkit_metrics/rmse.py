"""The root of the mean squared error."""

import math

import numpy as np

from expkit.api import Array, DataSpec

from ._residuals import MeanOfResiduals


class RootMeanSquaredError(MeanOfResiduals):
    """Square root of the mean squared difference of outputs and targets, over samples and outputs.

    Args:
        spec: supplied; targets must be values, or the model must have one output.
        own_unit: measure in the target's own unit (1000 dollars), not in normalised numbers.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = RootMeanSquaredError(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[1.0], [7.0]]), np.array([[0.0], [0.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        5.0
    """

    name = "rmse"

    def __init__(self, spec: DataSpec, *, own_unit: bool = False):
        super().__init__(spec, own_unit)

    def _size(self, difference: Array) -> Array:
        return np.square(difference)

    def compute(self) -> float:
        """Value over all batches; NaN when there were none."""
        return math.sqrt(super().compute())
