"""Losses of Paddle, and others that know nothing of expkit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.api import ConfigError, DataSpec

TARGETS = ("auto", "column", "one_hot")
SCORES = ("logits", "probabilities", "log_probabilities", "sigmoid")


class PaddleLoss:
    """A loss as it is: a `paddle.nn.Layer`, a function of `paddle.nn.functional`, or any other of (outputs, targets).

    What it returns is averaged, so that `reduction="none"` and sums of a sample do, too. A function is named with
    `loss.of._partial_=true`, and its further arguments are those of `of`.

    Args:
        spec: supplied.
        of: the loss, as `_target_` (package.module.Name) and its arguments; built by then.
        targets: how it wants classes: auto ([N] int64), column ([N, 1] int64) or one_hot ([N, K] float32). Values are
            [N, K].
        scores: what it takes the outputs for: logits, probabilities, log_probabilities or sigmoid (independent logits).

    Attributes:
        scores: as given.

    Raises:
        ConfigError: there is no loss, or an option does not fit the data.

    Example:
        >>> PaddleLoss(spec, of=paddle.nn.BCEWithLogitsLoss(), targets="one_hot")  # doctest: +SKIP
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        of: dict[str, object] = {},  # noqa: B006 - an option's default is a plain value; only read
        targets: Literal["auto", "column", "one_hot"] = "auto",
        scores: Literal["logits", "probabilities", "log_probabilities", "sigmoid"] = "logits",
    ):
        if not callable(of):
            raise ConfigError(
                f"loss.of is {'missing' if of == {} else f'a {type(of).__name__}'}; expected something to call: "
                "loss.of._target_=paddle.nn.CrossEntropyLoss, or a function with loss.of._partial_=true."
            )
        for option, value, known in (("targets", targets, TARGETS), ("scores", scores, SCORES)):
            if value not in known:
                raise ConfigError(f"loss.{option}={value!r}: must be one of {', '.join(known)}.")
        if targets != "auto" and not spec.is_classification:
            raise ConfigError(f"loss.targets={targets} is for classes, but the targets of {spec.name} are numbers.")
        self._of: Callable[..., Any] = of
        self._targets, self._classes, self._outputs = targets, spec.is_classification, spec.outputs
        self.scores = scores

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch.

        Args:
            outputs: [N, K].
            targets: classes [N] int64, shares of classes [N, K], or values [N, K].

        Raises:
            ConfigError: the shapes do not fit, or what comes back is no tensor.
        """
        shares = targets.ndim == 2
        if outputs.shape[0] != targets.shape[0] or (shares and outputs.shape != targets.shape):
            raise ConfigError(f"loss=paddle_loss: outputs {list(outputs.shape)}, but targets {list(targets.shape)}.")
        if shares == self._classes and not (shares and self._targets == "one_hot"):
            kind = "shares of classes, as a transform mixes them," if shares else "targets [N]"
            raise ConfigError(f"loss=paddle_loss: {kind} need loss.targets=one_hot.")
        if not shares and self._targets == "one_hot":
            targets = F.one_hot(targets, self._outputs)
        elif not shares and self._targets == "column":
            targets = targets.unsqueeze(1)
        try:
            value = self._of(outputs, targets)
        except (TypeError, ValueError, RuntimeError) as error:  # as Paddle refuses shapes and types
            what = next(iter(str(error).strip().splitlines()), "")
            raise ConfigError(
                f"loss.of fails on outputs {_shape(outputs)} and targets {_shape(targets)}: {type(error).__name__}: "
                f"{what[:300]} Perhaps it wants another of loss.targets={', '.join(TARGETS)} (now "
                f"{self._targets}). EXPKIT_DEBUG=1 shows where."
            ) from error
        if not isinstance(value, paddle.Tensor):
            raise ConfigError(f"loss.of returned a {type(value).__name__}; expected a tensor.")
        return value if value.ndim == 0 else value.mean()


def _shape(tensor: paddle.Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('paddle.')}"
