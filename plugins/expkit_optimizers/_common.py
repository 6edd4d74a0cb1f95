"""What the optimizers share: checked arguments of Paddle's constructors, and weight decay that is never ignored."""

from collections.abc import Iterable
from typing import Any, Literal

import paddle
from paddle.optimizer.lr import LRScheduler
from paddle.regularizer import L1Decay, L2Decay

from expkit.api import ConfigError

from . import _checks

Decay = Literal["l1", "l2"]
_DECAYS = {"l1": L1Decay, "l2": L2Decay}


def arguments(
    parameters: Iterable[paddle.Tensor], learning_rate: float | LRScheduler, clip_norm: float | None
) -> dict[str, Any]:
    """Return what every optimizer of Paddle takes.

    Raises:
        ConfigError: there are no parameters; the rate or the norm is not above 0.
    """
    found = _checks.trainable(parameters)
    _checks.rate(learning_rate)
    return {"learning_rate": learning_rate, "parameters": found, "grad_clip": _checks.clip(clip_norm)}


def decaying(
    parameters: Iterable[paddle.Tensor],
    learning_rate: float | LRScheduler,
    clip_norm: float | None,
    weight_decay: float,
    decay: Decay,
) -> dict[str, Any]:
    """Return `arguments` and what decays the parameters that have no regularizer of their own.

    Raises:
        ConfigError: as `arguments` and `weight_decay_of`.
    """
    shared = arguments(parameters, learning_rate, clip_norm)
    return {**shared, "weight_decay": weight_decay_of(shared["parameters"], weight_decay, decay)}


def weight_decay_of(parameters: list[paddle.Tensor], coefficient: float, decay: Decay) -> L1Decay | L2Decay | None:
    """Return the decay of all parameters without a regularizer; a parameter's own takes its place, not more.

    Raises:
        ConfigError: the coefficient is negative; there is no such decay; no parameter is left that could decay.
    """
    _checks.not_negative("weight_decay", coefficient)
    if decay not in _DECAYS:
        raise ConfigError(f"optimizer.decay={decay!r}: must be l1 or l2.")
    if coefficient == 0:
        return None
    if _regularized(parameters) == len(parameters):
        raise ConfigError(
            f"optimizer.weight_decay={coefficient} would do nothing: each of the {len(parameters)} parameters has a "
            "regularizer, which takes its place. Choose regularizer=none, or set optimizer.weight_decay=0."
        )
    return _DECAYS[decay](coefficient)


def refuse_regularizers(parameters: list[paddle.Tensor], optimizer: str, why: str) -> None:
    """Refuse parameters that bring a regularizer to an optimizer that decays weights in a way of its own.

    Raises:
        ConfigError: at least one has a regularizer.
    """
    regularized = _regularized(parameters)
    if regularized:
        raise ConfigError(
            f"optimizer={optimizer} takes no regularizer, but {regularized} of {len(parameters)} parameters have one. "
            f"{why} Choose regularizer=none and set optimizer.weight_decay, or keep the regularizer with "
            "optimizer=adam."
        )


def _regularized(parameters: list[paddle.Tensor]) -> int:
    return sum(getattr(parameter, "regularizer", None) is not None for parameter in parameters)
