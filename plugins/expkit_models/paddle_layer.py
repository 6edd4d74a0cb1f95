"""Any `paddle.nn.Layer` as it is, fitted to the data by options."""

from typing import Literal

import paddle
from paddle import nn

from expkit.api import ConfigError, DataSpec

from ._reading import answer, check_steps, prepared


class PaddleLayer(nn.Layer):
    """A layer that knows nothing of expkit: says what it is fed, and what of its answer counts.

    `model._target_=my_models.Net` alone is enough for a layer that takes inputs [N, *shape] and answers [N, K]. This is
    for the others. Its answer may be [N], [N, K] or [N, K, 1, 1]; where there are two classes, one number a sample is
    taken for the second class.

    Args:
        spec: supplied; inputs of any shape, K outputs.
        of: the layer, as `_target_` (package.module.Class) and its arguments; built by then.
        input: what is done to the inputs, in this order: flatten, rgb (grey three times), grey (mean of the colours),
            channels_last (NHWC), no_channel ([N, H, W] of grey), sequence ([N, H, C * W], row after row), float64,
            float16, int64.
        size: rows and columns that images are scaled to before that, inside the model; null keeps them.
        answer: which answer counts of several: a position, or a key of a dict.
        scores: what the answer is for a loss: logits, probabilities, log_probabilities or sigmoid (independent logits).

    Attributes:
        scores: as given.

    Raises:
        ConfigError: there is no layer, or an option does not fit the data.

    Example:
        >>> PaddleLayer(spec, of=MyNet(num_classes=10), input=["flatten"])  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        of: dict[str, object] = {},  # noqa: B006 - an option's default is a plain value; only read
        input: list[str] = (),
        size: list[int] | None = None,
        answer: int | str = 0,
        scores: Literal["logits", "probabilities", "log_probabilities", "sigmoid"] = "logits",
    ):
        super().__init__()
        if not isinstance(of, nn.Layer):
            raise ConfigError(
                f"model.of is {'missing' if of == {} else f'a {type(of).__name__}'}; expected a paddle.nn.Layer: "
                "model.of._target_=my_models.Net +model.of.num_classes=10."
            )
        if size is not None and (len(size) != 2 or min(size) < 1 or len(spec.input_shape) != 3):
            raise ConfigError(f"model.size={list(size)}: give rows and columns of images, such as [224,224].")
        if scores not in ("logits", "probabilities", "log_probabilities", "sigmoid"):
            raise ConfigError(f"model.scores={scores!r}: must be logits, probabilities, log_probabilities or sigmoid.")
        check_steps(list(input), spec)
        self.of = of
        self.scores = scores
        self._input, self._size, self._answer = list(input), None if size is None else list(size), answer
        self._outputs = spec.outputs
        self._binary = scores if spec.is_classification and spec.outputs == 2 else None

    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        """Return outputs [N, K] for inputs [N, *shape]."""
        given = self.of(prepared(inputs, self._input, self._size))
        return answer(given, self._answer, self._outputs, binary=self._binary)
