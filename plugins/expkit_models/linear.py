"""A linear model."""

from paddle import nn

from expkit.api import DataSpec

from ._output import SCORES, output_layers


class Linear(nn.Sequential):
    """One linear layer on flattened inputs: linear regression, or softmax regression with cross entropy.

    Args:
        spec: supplied; inputs of any shape, K outputs.
        output: what the model answers: logits (numbers as they are), softmax, log_softmax or sigmoid; a loss that takes
            probabilities needs one of the others (`loss.from_probabilities=true`, or `loss=nll`).

    Attributes:
        scores: what the outputs are for a loss: "logits", "probabilities" or "log_probabilities".

    Raises:
        ConfigError: output is unknown, or needs classes and there are none.

    Example:
        >>> Linear(spec)(paddle.zeros([10, 13])).shape  # doctest: +SKIP
        [10, 1]
    """

    def __init__(self, spec: DataSpec, *, output: str = "logits"):
        last = output_layers(spec, output)
        size = 1
        for extent in spec.input_shape:
            size *= extent
        flatten = [("flatten", nn.Flatten())] if len(spec.input_shape) != 1 else []
        super().__init__(*flatten, ("head", nn.Linear(size, spec.outputs)), *last)
        self.scores = SCORES[output]
