"""Lamb."""

from collections.abc import Iterable

import paddle

from . import _checks, _common


def lamb(
    parameters: Iterable[paddle.Tensor],
    *,
    learning_rate: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-6,
    weight_decay: float = 0.01,
    always_adapt: bool = False,
    clip_norm: float | None = None,
) -> paddle.optimizer.Lamb:
    """Lamb: AdamW's direction, with a step as long as a share of each parameter's norm (You et al. 2020, alg. 2).

    For large batches. w <- w - rate * |w| / |r + weight_decay * w| * (r + weight_decay * w), where r is Adam's step.

    Args:
        parameters: supplied; none may have a `regularizer`.
        learning_rate: size of a step; a chosen schedule starts from it and is passed in its place.
        beta1: share of the gradients' running mean that is kept, from 0 to below 1.
        beta2: share of the squares' running mean that is kept, from 0 to below 1.
        epsilon: added to the divisor, so that it is never 0.
        weight_decay: decoupled decay of every parameter, biases too; takes a regularizer's place.
        always_adapt: scale steps by norms even if weight_decay is 0, where Paddle would leave Adam as it is.
        clip_norm: scale gradients down when their common L2 norm exceeds this; null leaves them alone.

    Raises:
        ConfigError: a parameter has a regularizer, an option is out of range, or there are no parameters.
    """
    shared = _common.arguments(parameters, learning_rate, clip_norm)
    why = "Lamb decays weights by itself, decoupled from the gradient."
    _common.refuse_regularizers(shared["parameters"], "lamb", why)
    _checks.share("beta1", beta1)
    _checks.share("beta2", beta2)
    _checks.above_zero("epsilon", epsilon)
    _checks.not_negative("weight_decay", weight_decay)
    return paddle.optimizer.Lamb(
        **shared,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        lamb_weight_decay=weight_decay,
        always_adapt=always_adapt,
    )
