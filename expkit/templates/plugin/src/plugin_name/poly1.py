"""Poly-1 loss."""

import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses
from expkit.api import ConfigError, DataSpec
from paddle import Tensor


class Poly1:
    """Cross entropy that asks for more certainty: -log p + epsilon (1 - p) (Poly-1; Leng et al. 2022).

    Targets are classes [N], or shares of classes [N, K], as some transforms make of them; p is then their mean.

    Args:
        spec: supplied; targets must be classes.
        epsilon: how much more; 0 is cross entropy, -1 or above.

    Raises:
        ConfigError: the targets are values; epsilon is out of range.
    """

    def __init__(self, spec: DataSpec, *, epsilon: float = 1.0):
        if not spec.is_classification:
            raise ConfigError(f"loss=plugin_name_poly1 needs classes, but {spec.name} has values.")
        if not epsilon >= -1:
            raise ConfigError(f"loss.epsilon={epsilon}: must be -1 or above.")
        self.epsilon = epsilon

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch, for logits [N, K]."""
        if outputs.shape[0] != targets.shape[0] or (targets.ndim == 2 and outputs.shape != targets.shape):
            raise ConfigError(f"outputs {outputs.shape} of the model do not fit targets {targets.shape}.")
        shares = targets if targets.ndim == 2 else F.one_hot(targets, outputs.shape[1])
        logs = F.log_softmax(outputs)
        surprise = -(shares * logs).sum(axis=1)
        doubt = 1 - (shares * logs.exp()).sum(axis=1)
        return (surprise + self.epsilon * doubt).mean()
