"""The rate of the Transformer's authors."""

from paddle.optimizer.lr import LambdaDecay

from . import _checks, _steps


def noam(learning_rate: float, *, d_model: int | None = None, warmup_steps: int = 4000) -> LambdaDecay:
    """Raise the rate on a straight line, then lower it with the root of the steps (Vaswani et al. 2017, eq. 3).

    Of step n it is rate * d_model ** -0.5 * min(n ** -0.5, n * warmup_steps ** -1.5). The paper's rates come with
    `optimizer.learning_rate=1` and `d_model=512`.

    Args:
        learning_rate: supplied; the optimizer's.
        d_model: width of the model; null makes optimizer.learning_rate the highest rate, reached after the rise.
        warmup_steps: optimizer steps in which the rate rises.

    Raises:
        ConfigError: an option is out of range.
    """
    _checks.at_least(1, "warmup_steps", warmup_steps, "step")
    if d_model is not None:
        _checks.at_least(1, "d_model", d_model, "unit")
    highest = 1.0 if d_model is None else (d_model * warmup_steps) ** -0.5

    def factor(step: int) -> float:
        risen = (step + 1) / warmup_steps
        return highest * min(risen, risen**-0.5)

    return _steps.by_step(learning_rate, factor)
