"""What the losses of classification share: targets as classes or shares, weights, and cross entropy itself."""

import math

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses
from paddle import _C_ops

from expkit.api import Array, ConfigError, DataSpec

TINY = 1e-30
"""Smaller probabilities are taken for this one: its logarithm and slope are finite float32 numbers."""
LOWEST = -1e30
"""Smaller log-probabilities are taken for this one: 0 times it is 0, and 0 times -infinity is not a number."""
INEXACT = 0.01
"""How far the probabilities of a sample may sum up to something else than 1; half precision is that coarse."""


def check_target(loss: str, spec: DataSpec) -> None:
    """Refuse what is no classification.

    Raises:
        ConfigError: the targets are numbers, or there is one class only.
    """
    if not spec.is_classification:
        raise ConfigError(
            f"loss={loss} needs classes, but the targets of {spec.name} are numbers. Choose loss=squared_error."
        )
    if spec.outputs < 2:
        raise ConfigError(f"loss={loss} needs two classes or more; {spec.name} has {spec.outputs}.")


def checked_weights(spec: DataSpec, class_weights: list[float] | None) -> paddle.Tensor | None:
    """Return the weights of the classes as a tensor [K] float32, or None.

    Raises:
        ConfigError: their number is not that of the classes, or one is not above 0.
    """
    if class_weights is None:
        return None
    if len(class_weights) != spec.outputs or not all(0.0 < weight < math.inf for weight in class_weights):
        raise ConfigError(
            f"loss.class_weights={list(class_weights)}: give {spec.outputs} numbers above 0, one for each class of "
            f"{spec.name} in the order of its labels ({', '.join(spec.labels)})."
        )
    return paddle.to_tensor(list(class_weights), dtype="float32")


def checked_targets(
    loss: str, what: str, classes: int, outputs: paddle.Tensor, targets: paddle.Tensor
) -> paddle.Tensor:
    """Return classes [N] as they are, and shares [N, K] in the dtype of the outputs.

    Args:
        loss: its name, for messages.
        what: what the outputs are, for messages.
        classes: K.
        outputs: [N, K].
        targets: classes [N] int64, or shares [N, K] float32 that sum to 1 for each sample.

    Raises:
        ConfigError: a shape is another one; nothing is broadcast.
    """
    shape, given = outputs.shape, targets.shape  # of all that can be asked, what Paddle answers the fastest
    fits = len(shape) == 2 and shape[1] == classes and given[:1] == shape[:1]
    if fits and len(given) == 1:
        return targets
    if fits and given == shape and targets.is_floating_point():
        return targets.astype(outputs.dtype)
    raise ConfigError(
        f"loss={loss} needs {what} [N, {classes}] and classes [N] or shares [N, {classes}], but the model answered "
        f"{list(shape)} to targets {list(given)}. The model must have one output a class."
    )


def total_weight(targets: Array, label_smoothing: float, weights: paddle.Tensor | None) -> float:
    """Return what `cross_entropy` divides by.

    Args:
        targets: classes [N] int64, or shares [N, K].
        label_smoothing: as there.
        weights: as there.
    """
    if weights is None:
        return len(targets)
    each = weights.numpy()
    if targets.ndim == 1:
        counted = each[targets] * (1.0 - label_smoothing) + each.mean() * label_smoothing
    else:
        counted = (targets * (1.0 - label_smoothing) + label_smoothing / len(each)) @ each
    return float(counted.sum())


def plain_cross_entropy(logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """Return what `F.cross_entropy` does, by its own two operators: it looks for classes to ignore, and there are none.

    Args:
        logits: [N, K].
        targets: classes [N] int64, or shares [N, K].
    """
    soft = len(targets.shape) == 2
    labels = targets if soft else _C_ops.unsqueeze(targets, [-1])
    return _C_ops.mean_all(_C_ops.cross_entropy_with_softmax(logits, labels, soft, True, True, -100, -1)[1])


def cross_entropy(
    log_probabilities: paddle.Tensor,
    targets: paddle.Tensor,
    *,
    label_smoothing: float = 0.0,
    weights: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """Return minus the mean log-probability of the targets, weighted by their shares and by the weights of the classes.

    Args:
        log_probabilities: [N, K].
        targets: classes [N] int64, or shares [N, K].
        label_smoothing: share of each target that is spread evenly over all classes.
        weights: of the classes, [K] float32; the sum is divided by the weights that went into it.
    """
    if weights is not None:
        weights = weights.astype(log_probabilities.dtype)
    if targets.ndim == 1 and not label_smoothing:
        return F.nll_loss(log_probabilities, targets, weight=weights)
    classes = log_probabilities.shape[1]
    shares = F.one_hot(targets, classes).astype(log_probabilities.dtype) if targets.ndim == 1 else targets
    shares = shares * (1.0 - label_smoothing) + label_smoothing / classes
    if weights is not None:
        shares = shares * weights
    total = shares.shape[0] if weights is None else shares.sum()
    return -(shares * log_probabilities.clip(min=LOWEST)).sum() / total
