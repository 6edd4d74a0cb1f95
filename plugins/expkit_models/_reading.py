"""How a layer that knows nothing of expkit is given its inputs, and how its answer is read."""

from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.api import ConfigError, DataSpec, did_you_mean

STEPS = ("flatten", "rgb", "grey", "channels_last", "no_channel", "sequence", "float64", "float16", "int64")


def check_steps(steps: list[str], spec: DataSpec) -> None:
    """Refuse steps that are unknown, or make no sense for these inputs.

    Raises:
        ConfigError: there is such a one.
    """
    images = len(spec.input_shape) == 3
    for step in steps:
        if step not in STEPS:
            raise ConfigError(
                f"model.input: no such step: {step!r}.{did_you_mean(step, STEPS)} Known: {', '.join(STEPS)}."
            )
        if step in ("rgb", "grey", "channels_last", "no_channel", "sequence") and not images:
            raise ConfigError(
                f"model.input={step} is for images [C, H, W], but inputs of {spec.name} have the shape "
                f"{list(spec.input_shape)}."
            )


def prepared(inputs: paddle.Tensor, steps: list[str], size: list[int] | None) -> paddle.Tensor:
    """Return inputs [N, *shape] as the layer wants them: scaled first, then step by step."""
    if size:
        inputs = F.interpolate(inputs, size=size, mode="bilinear")
    for step in steps:
        inputs = _step(inputs, step)
    return inputs


def _step(inputs: paddle.Tensor, step: str) -> paddle.Tensor:
    if step == "flatten":
        return inputs.flatten(1)
    if step == "rgb":
        return inputs if inputs.shape[1] == 3 else inputs.tile([1, 3, 1, 1])
    if step == "grey":
        return inputs.mean(axis=1, keepdim=True)
    if step == "channels_last":
        return inputs.transpose([0, 2, 3, 1])
    if step == "no_channel":
        return inputs.squeeze(1)
    if step == "sequence":  # a row of the image is a step of the sequence
        return inputs.transpose([0, 2, 1, 3]).flatten(2)
    return inputs.astype(step)


def answer(given: Any, chosen: int | str, outputs: int, *, binary: str | None) -> paddle.Tensor:
    """Return what a layer gave as [N, K] float32.

    Args:
        given: a tensor; or several, in a tuple, a list or a dict.
        chosen: which of several.
        outputs: K.
        binary: how two classes are read from one number a sample; None where there are not two.

    Raises:
        ConfigError: there is no such answer.
    """
    if isinstance(given, (tuple, list, dict)):
        try:
            given = given[chosen]
        except (KeyError, IndexError, TypeError):
            there = ", ".join(map(repr, given)) if isinstance(given, dict) else f"0 to {len(given) - 1}"
            raise ConfigError(f"model.answer={chosen!r}: the layer answers {there}.") from None
    if given.ndim == 1:
        given = given.unsqueeze(1)
    elif given.ndim > 2:  # what is left of rows and columns after pooling
        given = given.flatten(1)
    if given.dtype != paddle.float32:
        given = given.astype("float32")
    if binary is not None and given.shape[1] == 1 != outputs:
        # A logit z of the second class is the pair (0, z): its softmax is the sigmoid of z.
        other = 1.0 - given if binary == "probabilities" else paddle.zeros_like(given)
        given = paddle.concat([other, given], axis=1)
    return given
