"""Cross entropy between classes and logits, or probabilities."""

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.api import Array, ConfigError, DataSpec

from ._classes import (
    INEXACT,
    TINY,
    check_target,
    checked_targets,
    checked_weights,
    cross_entropy,
    plain_cross_entropy,
    total_weight,
)


class CrossEntropy:
    """Softmax cross entropy of logits and classes, mean over the batch (Bishop 2006, eq. 4.108).

    Targets are classes [N], or shares [N, K] that sum to 1 for each sample, as mixing images makes them. With
    `class_weights`, the mean is a weighted one: the sum is divided by the weights of the targets in the batch.

    Args:
        spec: supplied; targets must be classes.
        label_smoothing: share of each target spread evenly over all classes (Szegedy et al. 2016, sec. 7).
        class_weights: how much each class counts, in the order of the labels; null counts all alike.
        from_probabilities: take the model's outputs as probabilities, for a model that ends in softmax
            (`model.output=softmax`); logits are more exact where a probability is close to 0.

    Attributes:
        scores: "logits" or "probabilities": what it takes the outputs for.

    Raises:
        ConfigError: the targets are no classes; an option is out of range.

    Example:
        >>> loss = CrossEntropy(spec, label_smoothing=0.1)  # doctest: +SKIP
        >>> loss(paddle.zeros([4, 10]), paddle.zeros([4], dtype="int64")).item()  # doctest: +SKIP
        2.302585
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        from_probabilities: bool = False,
    ):
        check_target("cross_entropy", spec)
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(f"loss.label_smoothing={label_smoothing}: must be from 0 to below 1.")
        self.scores = "probabilities" if from_probabilities else "logits"
        self._classes = spec.outputs
        self._label_smoothing = label_smoothing
        self._weights = checked_weights(spec, class_weights)
        self._checked = False

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch.

        Args:
            outputs: logits or probabilities [N, K] float32.
            targets: classes [N] int64, or shares [N, K] float32.

        Raises:
            ConfigError: a shape is another one; outputs that should be probabilities are none.
        """
        targets = checked_targets("cross_entropy", self.scores, self._classes, outputs, targets)
        if self.scores == "probabilities":
            self._check_probabilities(outputs)
            logs = outputs.clip(min=TINY).log()
        elif self._weights is None and not self._label_smoothing:
            return plain_cross_entropy(outputs, targets)
        elif self._weights is None:
            soft = targets.ndim == 2
            return F.cross_entropy(outputs, targets, soft_label=soft, label_smoothing=self._label_smoothing)
        else:
            logs = F.log_softmax(outputs, axis=1)
        return cross_entropy(logs, targets, label_smoothing=self._label_smoothing, weights=self._weights)

    def divisor(self, targets: Array) -> float:
        """Return what the mean over these targets divides by: their number, or the weights of their classes."""
        return total_weight(targets, self._label_smoothing, self._weights)

    def _check_probabilities(self, outputs: paddle.Tensor) -> None:
        """Look at the first batch only: a model that ends otherwise shows it at once."""
        if self._checked:
            return
        sums = outputs.detach().sum(axis=1)
        if bool((outputs < 0).any()) or bool(((sums - 1).abs() > INEXACT).any()):
            raise ConfigError(
                f"loss.from_probabilities=true needs probabilities that sum to 1 for each sample, but the model's "
                f"outputs are from {float(outputs.min()):.4g} to {float(outputs.max()):.4g} and sum to "
                f"{float(sums.min()):.4g} to {float(sums.max()):.4g}. Set model.output=softmax, or "
                "loss.from_probabilities=false."
            )
        self._checked = True
