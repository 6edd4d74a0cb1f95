"""A rate that is held, and falls at the end."""

from expkit.api import ConfigError
from paddle.optimizer.lr import LambdaDecay


def hold(
    learning_rate: float, steps_per_epoch: int, epochs: int, *, warmup: float = 0.05, decay: float = 0.2
) -> LambdaDecay:
    """Rise to the full rate, hold it for most of training, then fall to 0 on a line (Hägele et al. 2024, sec. 3).

    What was trained with the full rate can be trained on, where a cosine would have to begin anew.

    Args:
        learning_rate: supplied; the optimizer's.
        steps_per_epoch: supplied.
        epochs: supplied.
        warmup: share of training in which the rate rises, from 0 to below 1.
        decay: share of training, at its end, in which it falls, from 0 to below 1.

    Raises:
        ConfigError: an option is out of range, or rise and fall overlap.
    """
    for name, share in (("warmup", warmup), ("decay", decay)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"schedule.{name}={share}: must be from 0 to below 1, a share of training.")
    if warmup + decay > 1:
        raise ConfigError(f"schedule.warmup={warmup} and schedule.decay={decay}: must be at most 1 together.")
    total = steps_per_epoch * epochs
    rising, falling = round(warmup * total), round(decay * total)

    def factor(step: int) -> float:
        """Return the share of the full rate in a step, counted from 0."""
        if step < rising:
            return (step + 1) / rising
        return min(1.0, max(0, total - step) / falling) if falling else 1.0

    return LambdaDecay(learning_rate, factor)
