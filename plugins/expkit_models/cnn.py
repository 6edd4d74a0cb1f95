"""The textbook's convolutional network."""

from paddle import nn

from expkit.api import ConfigError, DataSpec

from ._output import SCORES, output_layers


class CNN(nn.Sequential):
    """Blocks of convolution, ReLU and 2x2 max pooling, and a linear head (LeCun et al. 1998, sec. II).

    With its defaults on MNIST: Conv 1->20 5x5, pool, Conv 20->20 5x5, pool, Linear 980->10. Layers are named
    `conv1`, `relu1`, `pool1`, ... and `head`.

    Args:
        spec: supplied; images [C, H, W] in, K outputs.
        channels: output channels of each block; one block (convolution, ReLU, pooling) a number.
        kernel: rows and columns of each convolution kernel; odd, so that padding keeps the image's size.
        output: what the model answers: logits (numbers as they are), softmax, log_softmax or sigmoid; a loss that takes
            probabilities needs one of the others (`loss.from_probabilities=true`, or `loss=nll`).

    Attributes:
        scores: what the outputs are for a loss: "logits", "probabilities" or "log_probabilities".

    Raises:
        ConfigError: the inputs are no images, or too small for so many poolings; an option is out of range.

    Example:
        >>> model = CNN(spec, channels=[8, 16])  # doctest: +SKIP
        >>> model(paddle.zeros([32, 1, 28, 28])).shape  # doctest: +SKIP
        [32, 10]
    """

    def __init__(self, spec: DataSpec, *, channels: list[int] = (20, 20), kernel: int = 5, output: str = "logits"):
        _check(spec, channels, kernel)
        last = output_layers(spec, output)
        depth, height, width = spec.input_shape
        layers: list[tuple[str, nn.Layer]] = []
        for number, filters in enumerate(channels, start=1):
            layers += [
                (f"conv{number}", nn.Conv2D(depth, filters, kernel, padding=kernel // 2)),
                (f"relu{number}", nn.ReLU()),
                (f"pool{number}", nn.MaxPool2D(2)),
            ]
            depth, height, width = filters, height // 2, width // 2
        layers += [("flatten", nn.Flatten()), ("head", nn.Linear(depth * height * width, spec.outputs))]
        super().__init__(*layers, *last)
        self.scores = SCORES[output]


def _check(spec: DataSpec, channels: list[int], kernel: int) -> None:
    shape = spec.input_shape
    if len(shape) != 3:
        raise ConfigError(
            f"model=cnn needs images [C, H, W], but inputs of {spec.name} have the shape {list(shape)}. "
            "Choose model=mlp or model=linear."
        )
    if not channels or min(channels) < 1:
        raise ConfigError(f"model.channels={list(channels)}: give one number above 0 for each block, such as [20,20].")
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(f"model.kernel={kernel}: must be odd and above 0, such as 3 or 5.")
    if min(shape[1:]) < 2 ** len(channels):
        fitting = min(shape[1:]).bit_length() - 1
        raise ConfigError(
            f"model.channels={list(channels)} halves images {len(channels)} times, but those of {spec.name} "
            f"are {shape[1]} x {shape[2]} pixels, enough for {fitting}. Give at most {fitting} numbers."
        )
