"""The mean absolute error."""

import numpy as np

from expkit.api import Array, DataSpec

from ._residuals import MeanOfResiduals


class MeanAbsoluteError(MeanOfResiduals):
    """Absolute difference of outputs and targets, mean over samples and outputs.

    Args:
        spec: supplied; targets must be values, or the model must have one output.
        own_unit: measure in the target's own unit (1000 dollars), not in normalised numbers.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = MeanAbsoluteError(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        1.5
    """

    name = "mae"

    def __init__(self, spec: DataSpec, *, own_unit: bool = False):
        super().__init__(spec, own_unit)

    def _size(self, difference: Array) -> Array:
        return np.abs(difference)
