"""The negative log-likelihood."""

import paddle

from expkit.api import Array, ConfigError, DataSpec

from ._classes import INEXACT, check_target, checked_targets, checked_weights, cross_entropy, total_weight


class NegativeLogLikelihood:
    """Minus the log-probability of the true class, mean over the batch: negative log-likelihood (Bishop 2006, 4.3.4).

    The model's outputs are log-probabilities (`model.output=log_softmax`); on them it equals the cross entropy of the
    logits. Targets are classes [N], or shares [N, K] that sum to 1 for each sample. With `class_weights`, the sum is
    divided by the weights of the targets in the batch.

    Args:
        spec: supplied; targets must be classes.
        class_weights: how much each class counts, in the order of the labels; null counts all alike.

    Attributes:
        scores: "log_probabilities": what it takes the outputs for.

    Raises:
        ConfigError: the targets are no classes; class_weights are not one number above 0 for each class.

    Example:
        >>> loss = NegativeLogLikelihood(spec)  # doctest: +SKIP
        >>> loss(paddle.to_tensor([[0.25, 0.75]]).log(), paddle.to_tensor([0])).item()  # doctest: +SKIP
        1.386294
    """

    scores = "log_probabilities"

    def __init__(self, spec: DataSpec, *, class_weights: list[float] | None = None):
        check_target("nll", spec)
        self._classes = spec.outputs
        self._weights = checked_weights(spec, class_weights)
        self._checked = False

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch.

        Args:
            outputs: log-probabilities [N, K] float32.
            targets: classes [N] int64, or shares [N, K] float32.

        Raises:
            ConfigError: a shape is another one; the outputs are no log-probabilities.
        """
        targets = checked_targets("nll", "log-probabilities", self._classes, outputs, targets)
        self._check_log_probabilities(outputs)
        return cross_entropy(outputs, targets, weights=self._weights)

    def divisor(self, targets: Array) -> float:
        """Return what the mean over these targets divides by: their number, or the weights of their classes."""
        return total_weight(targets, 0.0, self._weights)

    def _check_log_probabilities(self, outputs: paddle.Tensor) -> None:
        """Look at the first batch only: a model that ends otherwise shows it at once."""
        if self._checked:
            return
        sums = outputs.detach().exp().sum(axis=1)
        if bool(((sums - 1).abs() > INEXACT).any()):
            raise ConfigError(
                f"loss=nll needs log-probabilities, but the exponentials of the model's outputs sum to "
                f"{float(sums.min()):.4g} to {float(sums.max()):.4g} for a sample, not to 1. "
                "Set model.output=log_softmax, or choose loss=cross_entropy."
            )
        self._checked = True
