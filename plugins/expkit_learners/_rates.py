"""Makes an optimizer go on with a smaller rate, whatever schedule it follows."""

from typing import Any

from paddle.optimizer.lr import LRScheduler


def scale_rate(optimizer: Any, factor: float) -> None:
    """Multiply the rate of an optimizer, and all later ones of its schedule.

    Args:
        optimizer: a `paddle.optimizer.Optimizer`.
        factor: to multiply by; several calls multiply up.
    """
    rate = optimizer._learning_rate
    if not isinstance(rate, LRScheduler):
        optimizer.set_lr(optimizer.get_lr() * factor)
        return
    # Some schedules work the next rate out from the last one, so that `last_lr` has to stay what it is; only what the
    # optimizer gets to see may change. The class derived here keeps every `isinstance` of Paddle's true.
    kind = type(rate)
    rate.__class__ = type(kind.__name__, (kind,), {"__call__": lambda schedule: kind.__call__(schedule) * factor})
