"""The networks of `paddle.vision.models`, by name, for images of any size and number of channels."""

from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses
from paddle import nn
from paddle.vision import models

from expkit.api import ConfigError, DataSpec, did_you_mean

from ._googlenet import MainOutput
from ._output import SCORES, output_layers
from ._pretrained import load_pretrained

NAMES = [
    "lenet",
    "alexnet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "resnext50_32x4d",
    "resnext50_64x4d",
    "resnext101_32x4d",
    "resnext101_64x4d",
    "resnext152_32x4d",
    "resnext152_64x4d",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet264",
    "googlenet",
    "inception_v3",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x0_25",
    "shufflenet_v2_x0_33",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "shufflenet_v2_swish",
    "squeezenet1_0",
    "squeezenet1_1",
]
FIXED = {"lenet": 28, "alexnet": 224}
"""Networks whose first dense layer was made for images of one size: rows and columns of these."""
LEAST = {"googlenet": 64, "inception_v3": 75}
"""Rows and columns below which nothing is left of an image at the end; Paddle crashes then instead of saying so."""
USUAL_LEAST = 32  # halved five times


class PaddleVision(nn.Layer):
    """A network of `paddle.vision.models`, such as ResNet, MobileNet or VGG, made to fit the data.

    It gets as many outputs as there are classes, or values to predict. Its first convolution takes the channels that
    the images have: for grey images its kernels are summed over colours, which answers as a grey picture in three
    channels would, and costs less. Images that are too small for the network are scaled up inside the model, so that
    an exported model takes images as they are in the data. Of GoogLeNet, the main output is trained; the two auxiliary
    ones are left out.

    Networks: lenet, alexnet, vgg11, vgg13, vgg16, vgg19, resnet18, resnet34, resnet50, resnet101, resnet152,
    wide_resnet50_2, wide_resnet101_2, resnext50_32x4d, resnext50_64x4d, resnext101_32x4d, resnext101_64x4d,
    resnext152_32x4d, resnext152_64x4d, densenet121, densenet161, densenet169, densenet201, densenet264, googlenet,
    inception_v3, mobilenet_v1, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, shufflenet_v2_x0_25,
    shufflenet_v2_x0_33, shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5, shufflenet_v2_x2_0,
    shufflenet_v2_swish, squeezenet1_0, squeezenet1_1.

    Args:
        spec: supplied; images [C, H, W] in, K outputs.
        name: which network, as its function in `paddle.vision.models` is called, or lenet.
        pretrained: start from Paddle's ImageNet weights, downloaded once into ~/.cache/paddle; the head starts anew.
            Networks for which Paddle has none refuse it.
        size: rows and columns that images are scaled to inside the model; null keeps images that are large enough.
        arguments: further arguments of Paddle's function, such as {scale: 0.5} of a MobileNet or {batch_norm: true} of
            a VGG.
        output: what the model answers: logits (numbers as they are), softmax, log_softmax or sigmoid; a loss that takes
            probabilities needs one of the others (`loss.from_probabilities=true`, or `loss=nll`).

    Attributes:
        scores: what the outputs are for a loss: "logits", "probabilities" or "log_probabilities".

    Raises:
        ConfigError: the inputs are no images, an option is out of range, or there are no such weights.

    Example:
        >>> model = PaddleVision(spec, name="resnet18")  # doctest: +SKIP
        >>> model(paddle.zeros([32, 1, 28, 28])).shape  # doctest: +SKIP
        [32, 10]
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        name: str,
        pretrained: bool = False,
        size: int | None = None,
        arguments: dict[str, bool | int | float] = {},  # noqa: B006 - an option's default is a plain value; only read
        output: str = "logits",
    ):
        super().__init__()
        _check(spec, name)
        self._size = _input_size(spec, name, size)
        last = output_layers(spec, output)
        self.network = _network(name, spec, pretrained, arguments)
        self.last = nn.Sequential(*last)
        self.scores = SCORES[output]

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Return outputs [N, K] for images [N, C, H, W]."""
        if self._size is not None:
            images = F.interpolate(images, size=self._size, mode="bilinear")
        return self.last(self.network(images))


def _check(spec: DataSpec, name: str) -> None:
    if name not in NAMES:
        raise ConfigError(
            f"model.name={name!r}: no such network.{did_you_mean(name, NAMES)} Known: {', '.join(NAMES)}."
        )
    if len(spec.input_shape) != 3:
        raise ConfigError(
            f"model=paddle_vision needs images [C, H, W], but inputs of {spec.name} have the shape "
            f"{list(spec.input_shape)}. Choose model=mlp or model=linear."
        )
    if name.startswith("squeezenet") and not spec.is_classification:
        raise ConfigError(
            f"model.name={name} answers nothing below 0 (it ends in a ReLU), but the targets of {spec.name} are "
            "numbers. Choose another network, such as model.name=mobilenet_v3_small."
        )


def _input_size(spec: DataSpec, name: str, wanted: int | None) -> list[int] | None:
    """Return rows and columns that images are scaled to; None where they are taken as they are."""
    _, height, width = spec.input_shape
    if name in FIXED:
        fixed = FIXED[name]
        if wanted not in (None, fixed):
            raise ConfigError(f"model.size={wanted}: {name} takes {fixed} x {fixed} pixels only. Leave it out.")
        return None if (height, width) == (fixed, fixed) else [fixed, fixed]
    least = LEAST.get(name, USUAL_LEAST)
    if wanted is not None:
        if wanted < least:
            raise ConfigError(f"model.size={wanted}: {name} needs {least} or more, or null.")
        return None if (height, width) == (wanted, wanted) else [wanted, wanted]
    factor = least / min(height, width)
    return None if factor <= 1 else [max(least, round(height * factor)), max(least, round(width * factor))]


def _network(name: str, spec: DataSpec, pretrained: bool, arguments: dict[str, Any]) -> nn.Layer:
    factory = models.LeNet if name == "lenet" else getattr(models, name)
    refused = {"num_classes", "with_pool", "pretrained"} & arguments.keys()
    if refused:
        raise ConfigError(f"model.arguments: {', '.join(sorted(refused))} cannot be given; expkit sets it by the data.")
    try:
        network = factory(num_classes=spec.outputs, **arguments)
    except TypeError as error:
        raise ConfigError(f"model.arguments={arguments}: {name} does not take them ({error}).") from error
    if pretrained:
        load_pretrained(network, name, factory, arguments)
    if spec.input_shape[0] != 3 or name == "lenet":
        _fit_channels(network, spec.input_shape[0])
    return MainOutput(network) if name == "googlenet" else network


def _fit_channels(network: nn.Layer, channels: int) -> None:
    """Let the first convolution take another number of channels."""
    first = next(layer for layer in network.sublayers() if isinstance(layer, nn.Conv2D))
    before = first.weight.shape[1]
    if before == channels:
        return
    # Summed, a kernel answers to a grey image what it answered to that image in each of its channels.
    kernel = first.weight.detach().sum(axis=1, keepdim=True).tile([1, channels, 1, 1]) / channels
    weight = first.create_parameter(kernel.shape, attr=paddle.ParamAttr(initializer=nn.initializer.Assign(kernel)))
    first.weight, first._in_channels = weight, channels
