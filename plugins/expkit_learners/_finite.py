"""Sees within a step that a loss or gradient is not finite, at little cost, and undoes what the forward run changed."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import _C_ops, nn

from expkit.api import NotFiniteError

_SMALL = 4096
"""Numbers in a gradient up to which it is squared in NumPy, where it is on the CPU."""


class Watch:
    """Watches the steps of one model.

    A step is: `before`, forward and backward, `check`, update. Between the first two of these, only what a model keeps
    beside its weights changes, such as running statistics. Which tensors these are is seen in the first step.

    Args:
        model: the layers.
    """

    def __init__(self, model: nn.Layer) -> None:
        self._model = model
        self._trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
        self._small: list[Any] = []
        self._large: list[Any] = []
        for _, p in self._trainable:
            (self._small if math.prod(p.shape) <= _SMALL and p.place.is_cpu_place() else self._large).append(p)
        self._moving: list[Any] | None = None
        self._kept: list[tuple[Any, Any]] = []

    def before(self) -> None:
        """Note what the forward run may change."""
        tensors = _beside_weights(self._model) if self._moving is None else self._moving
        self._kept = [(tensor, tensor.detach().clone()) for tensor in tensors]

    def check(self, loss: float, *, gradients: bool = True) -> None:
        """Refuse a loss, or gradients, that are not finite; the model is then as it was before the step.

        Args:
            loss: of the batch.
            gradients: whether they are looked at; not where a loss scaler does so.

        Raises:
            NotFiniteError: says which.
        """
        if self._moving is None:
            self._moving = [tensor for tensor, before in self._kept if not _equal(tensor, before)]
        found = "" if math.isfinite(loss) else f"the loss is {loss}"
        if gradients and not found:
            found = self._bad_gradients()
        if found:
            self._undo()
            raise NotFiniteError(found, kind="gradient" if "gradient" in found else "loss")

    def _bad_gradients(self) -> str:
        """Return in words which gradients are not finite; "" where all are."""
        total = _sum_of_squares(self._gradients(self._large))
        for parameter in self._small:
            gradient = parameter._grad_ivar()
            if gradient is not None and gradient.is_dense():
                values = gradient.numpy()  # a copy takes less time than a call of Paddle
                total += float(np.vdot(values, values))
        if math.isfinite(total):
            return ""
        # The squares of finite numbers may be too large, too.
        given = [(name, gradient) for name, p in self._trainable if (gradient := p._grad_ivar()) is not None]
        bad = [name for name, gradient in given if not _all_finite(gradient)]
        return f"the gradient of {_named(bad)} is NaN or infinite" if bad else ""

    @staticmethod
    def _gradients(parameters: Iterable[Any]) -> list[Any]:
        found = [gradient for p in parameters if (gradient := p._grad_ivar()) is not None]
        return [gradient for gradient in found if gradient.is_dense()]

    @paddle.no_grad()
    def _undo(self) -> None:
        for tensor, before in self._kept:
            tensor.set_value(before)
        for _, parameter in self._trainable:
            parameter.clear_gradient()


def _sum_of_squares(gradients: Sequence[Any]) -> float:
    """Return a number that is not finite where one of the gradients is not."""
    if not gradients:
        return 0.0
    if not gradients[0].place.is_cpu_place():  # one wait for the GPU, not many
        norms = [_C_ops.squared_l2_norm(gradient.detach()) for gradient in gradients]
        return float(paddle.add_n([norm.astype("float32") for norm in norms]).item())
    return sum(_C_ops.squared_l2_norm(gradient.detach()).item() for gradient in gradients)


def _all_finite(gradient: Any) -> bool:
    return not gradient.is_dense() or bool(paddle.isfinite(gradient).all())


def _beside_weights(model: nn.Layer) -> list[Any]:
    """Buffers, and parameters without gradient, as which Paddle keeps running statistics (and frozen weights are)."""
    tensors = [*model.buffers(), *(p for p in model.parameters() if p.stop_gradient)]
    return [tensor for tensor in tensors if tensor._is_initialized()]  # nn.LSTM has one without memory


def _equal(one: Any, other: Any) -> bool:
    return bool((one.detach() == other).all())


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
