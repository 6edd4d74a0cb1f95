"""The decays: Paddle's two, and their sum, for which it has no class."""

from typing import Any

from paddle import Tensor
from paddle.regularizer import L1Decay, L2Decay, WeightDecayRegularizer


class ElasticNetDecay(WeightDecayRegularizer):
    """Adds l1 * sign(w) + l2 * w to a gradient.

    Args:
        l1: coefficient of the sign.
        l2: coefficient of the weight.
    """

    def __init__(self, l1: float, l2: float):
        super().__init__()
        self._coefficients = (l1, l2)
        self._l1, self._l2 = L1Decay(l1), L2Decay(l2)

    def __call__(self, param: Tensor, grad: Tensor, block: Any) -> Tensor:
        """Return what Paddle adds to the gradient.

        Args:
            param: the weights, of any shape.
            grad: theirs, before the decay.
            block: of a static graph; Paddle passes it on.
        """
        return self._l1(param, grad, block) + self._l2(param, grad, block)

    def __str__(self) -> str:
        return "ElasticNetDecay, l1={:f}, l2={:f}".format(*self._coefficients)


def decay_of(*, l1: float = 0.0, l2: float = 0.0) -> WeightDecayRegularizer | None:
    """Return the decay with these coefficients; None when both are 0."""
    if l1 and l2:
        return ElasticNetDecay(l1, l2)
    if l1:
        return L1Decay(l1)
    return L2Decay(l2) if l2 else None
