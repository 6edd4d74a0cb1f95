"""What the models share at their end: logits as they are, or turned into probabilities."""

from paddle import nn

from expkit.api import ConfigError, DataSpec

SCORES = {
    "logits": "logits",
    "softmax": "probabilities",
    "log_softmax": "log_probabilities",
    "sigmoid": "probabilities",
}
"""What the outputs are for a loss, for each choice of `model.output`."""


def output_layers(spec: DataSpec, output: str) -> list[tuple[str, nn.Layer]]:
    """Return what follows the linear head, by name: nothing for "logits", and never anything with parameters.

    Raises:
        ConfigError: output is unknown, or needs classes and there are none.
    """
    if output not in SCORES:
        raise ConfigError(f"model.output={output!r} is unknown; choose {', '.join(SCORES)}.")
    if output in ("softmax", "log_softmax") and not spec.is_classification:
        raise ConfigError(
            f"model.output={output} needs classes, but the targets of {spec.name} are numbers. "
            "Set model.output=logits, which leaves the outputs as they are."
        )
    if output == "softmax":
        return [("softmax", nn.Softmax(axis=1))]
    if output == "log_softmax":
        return [("log_softmax", nn.LogSoftmax(axis=1))]
    return [("sigmoid", nn.Sigmoid())] if output == "sigmoid" else []
