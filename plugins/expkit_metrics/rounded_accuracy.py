"""The share of right answers of a regression onto whole numbers."""

import numpy as np

from expkit.api import Array, DataSpec, Values

from ._residuals import check_target, fitting, own_scale
from ._share import ShareOfRight


class RoundedAccuracy(ShareOfRight):
    """Share of samples whose prediction, in the target's own unit, rounds to the same whole number as the target.

    For a regression onto the numbers of classes, or onto counts. Halves round to the even number; with several outputs,
    all of them have to be right.

    Args:
        spec: supplied; targets must be values, or the model must have one output.

    Raises:
        ConfigError: the targets are classes.

    Example:
        >>> metric = RoundedAccuracy(spec)  # doctest: +SKIP
        >>> metric.update(np.array([[2.6], [3.4], [7.6]]), np.array([[3.0], [3.0], [7.0]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        0.6666666666666666
    """

    def __init__(self, spec: DataSpec):
        check_target("rounded_accuracy", spec)
        self._scale = own_scale(spec, own_unit=True)
        self._mean = np.asarray(spec.target.mean) if isinstance(spec.target, Values) else np.zeros(spec.outputs)
        super().__init__()

    @np.errstate(over="ignore")
    def _are_right(self, outputs: Array, targets: Array) -> Array:
        targets = fitting("rounded_accuracy", outputs, targets)
        predicted, true = (np.rint(values * self._scale + self._mean) for values in (outputs, targets))
        return (predicted == true).all(axis=1)
