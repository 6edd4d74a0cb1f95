"""What the optimizers check before Paddle sees it, so that a mistake names the option."""

import math
from collections.abc import Iterable

import paddle
from paddle.optimizer.lr import LRScheduler

from expkit.api import ConfigError


def trainable(parameters: Iterable[paddle.Tensor]) -> list[paddle.Tensor]:
    """Return the parameters as the list that Paddle asks for.

    Raises:
        ConfigError: there are none.
    """
    found = list(parameters)
    if not found:
        raise ConfigError("the model has no parameters, so there is nothing to train.")
    return found


def rate(learning_rate: float | LRScheduler) -> None:
    """Check a learning rate; a schedule has checked its own.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    if not isinstance(learning_rate, LRScheduler):
        above_zero("learning_rate", learning_rate)


def above_zero(option: str, value: float) -> None:
    """Check a number.

    Raises:
        ConfigError: it is not finite or not above 0.
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"optimizer.{option}={value}: must be a number above 0.")


def not_negative(option: str, value: float) -> None:
    """Check a number.

    Raises:
        ConfigError: it is not finite or below 0.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"optimizer.{option}={value}: must be 0 or a number above 0.")


def at_least_one(option: str, value: int) -> None:
    """Check a count.

    Raises:
        ConfigError: it is below 1.
    """
    if value < 1:
        raise ConfigError(f"optimizer.{option}={value}: must be 1 or more.")


def share(option: str, value: float) -> None:
    """Check a decay rate or momentum.

    Raises:
        ConfigError: it is not from 0 to below 1.
    """
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"optimizer.{option}={value}: must be from 0 to below 1.")


def clip(clip_norm: float | None) -> paddle.nn.ClipGradByGlobalNorm | None:
    """Return clipping by the gradients' common L2 norm (Pascanu et al. 2013), before any regularizer.

    Raises:
        ConfigError: the norm is not above 0.
    """
    if clip_norm is None:
        return None
    above_zero("clip_norm", clip_norm)
    return paddle.nn.ClipGradByGlobalNorm(clip_norm)
