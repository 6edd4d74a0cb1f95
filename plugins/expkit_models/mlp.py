"""A multilayer perceptron."""

from paddle import nn

from expkit.api import ConfigError, DataSpec

from ._output import SCORES, output_layers

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class MLP(nn.Sequential):
    """Fully connected layers on flattened inputs (Rumelhart et al. 1986).

    Layers are named `hidden1`, `relu1` (or the activation chosen), `dropout1`, ... and `head`.

    Args:
        spec: supplied; inputs of any shape, K outputs.
        hidden: units of each hidden layer; empty makes a linear model.
        activation: after each hidden layer; relu, sigmoid or tanh.
        dropout: share of hidden units that a training step leaves out, from 0 to below 1.
        output: what the model answers: logits (numbers as they are), softmax, log_softmax or sigmoid; a loss that takes
            probabilities needs one of the others (`loss.from_probabilities=true`, or `loss=nll`).

    Attributes:
        scores: what the outputs are for a loss: "logits", "probabilities" or "log_probabilities".

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> MLP(spec, hidden=[128], activation="tanh")(paddle.zeros([32, 1, 28, 28])).shape  # doctest: +SKIP
        [32, 10]
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: list[int] = (256, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        output: str = "logits",
    ):
        last = output_layers(spec, output)
        if any(units < 1 for units in hidden):
            raise ConfigError(f"model.hidden={list(hidden)}: every number of units must be above 0.")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"model.activation={activation!r} is unknown; choose {', '.join(ACTIVATIONS)}.")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"model.dropout={dropout}: must be from 0 to below 1.")
        size = 1
        for extent in spec.input_shape:
            size *= extent
        layers: list[tuple[str, nn.Layer]] = [("flatten", nn.Flatten())]
        for number, units in enumerate(hidden, start=1):
            layers += [
                (f"hidden{number}", nn.Linear(size, units)),
                (f"{activation}{number}", ACTIVATIONS[activation]()),
            ]
            if dropout:
                layers.append((f"dropout{number}", nn.Dropout(dropout)))
            size = units
        super().__init__(*layers, ("head", nn.Linear(size, spec.outputs)), *last)
        self.scores = SCORES[output]
