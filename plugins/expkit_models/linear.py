"""A linear model."""

from paddle import nn

from expkit.api import DataSpec


class Linear(nn.Sequential):
    """One linear layer on flattened inputs: linear regression, or softmax regression with cross entropy.

    Args:
        spec: supplied; inputs of any shape, K outputs.

    Example:
        >>> Linear(spec)(paddle.zeros([10, 13])).shape  # doctest: +SKIP
        [10, 1]
    """

    def __init__(self, spec: DataSpec):
        size = 1
        for extent in spec.input_shape:
            size *= extent
        super().__init__(("flatten", nn.Flatten()), ("head", nn.Linear(size, spec.outputs)))
