"""The mean squared error."""

import numpy as np

from expkit.api import Array, DataSpec

from ._residuals import MeanOfResiduals


class MeanSquaredError(MeanOfResiduals):
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

    name = "mse"

    def __init__(self, spec: DataSpec, *, own_unit: bool = False):
        super().__init__(spec, own_unit)

    def _size(self, difference: Array) -> Array:
        return np.square(difference)
