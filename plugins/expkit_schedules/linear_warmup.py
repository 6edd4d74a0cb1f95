"""A rate that rises, and then stays."""

from paddle.optimizer.lr import LambdaDecay

from . import _steps


def linear_warmup(learning_rate: float, steps_per_epoch: int, epochs: int, *, warmup: float = 1.0) -> LambdaDecay:
    """Raise the rate on a straight line, then keep it (Goyal et al. 2017, sec. 2.2).

    Args:
        learning_rate: supplied; the optimizer's, reached at the end of the warm-up.
        steps_per_epoch: supplied.
        epochs: supplied.
        warmup: epochs in which the rate rises; 0.5 is half an epoch.

    Raises:
        ConfigError: an option is out of range.
    """
    rising = _steps.rising_steps(warmup, steps_per_epoch, epochs)
    return _steps.by_step(learning_rate, lambda step: 1.0, rising=rising)
