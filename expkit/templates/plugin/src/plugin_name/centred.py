"""Momentum on centred gradients."""

from collections.abc import Iterable
from typing import Any

import paddle
from expkit.api import ConfigError


def centred(
    parameters: Iterable[paddle.Tensor], *, learning_rate: float = 0.01, momentum: float = 0.9
) -> paddle.optimizer.Optimizer:
    """Momentum on gradients without their mean over what enters a unit (Yong et al. 2020, eq. 1).

    Args:
        parameters: supplied; a `regularizer` that one of them has is added to its gradient.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        momentum: share of the last step that is kept, from 0 to below 1.

    Raises:
        ConfigError: an option is out of range.
    """
    if isinstance(learning_rate, float) and not learning_rate > 0:
        raise ConfigError(f"optimizer.learning_rate={learning_rate}: must be above 0.")
    if not 0.0 <= momentum < 1.0:
        raise ConfigError(f"optimizer.momentum={momentum}: must be from 0 to below 1.")
    return CentredMomentum(learning_rate, momentum, parameters=list(parameters))


class CentredMomentum(paddle.optimizer.Momentum):
    """The optimizer itself: Paddle's, with other gradients."""

    def _append_optimize_op(self, block: Any, param_and_grad: tuple[paddle.Tensor, paddle.Tensor]) -> Any:
        parameter, gradient = param_and_grad
        if gradient.ndim > 1:  # weights [in, out] of a linear layer, or [out, in, ...] of a convolution
            entering = [0] if gradient.ndim == 2 else list(range(1, gradient.ndim))
            gradient = gradient - gradient.mean(axis=entering, keepdim=True)
        return super()._append_optimize_op(block, (parameter, gradient))
