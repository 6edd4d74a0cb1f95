"""Binary cross entropy."""

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.api import ConfigError, DataSpec, Values

from ._classes import TINY, check_target, checked_targets
from ._values import differences


class BinaryCrossEntropy:
    """Binary cross entropy of each output on its own, mean over batch and outputs (Bishop 2006, eq. 4.90).

    Classes are learned one against all others: each of the K outputs is the logit of its own yes or no, and the
    probabilities of a sample need not sum to 1. Targets are classes [N], or shares [N, K] from 0 to 1.

    Values [N, K] are learned where they are shares from 0 to 1 and not normalised. What a model answers to values is
    taken as the values themselves, so it has to answer shares: `model.output=sigmoid loss.from_probabilities=true`.

    Args:
        spec: supplied; targets must be classes, or values from 0 to 1.
        from_probabilities: take the model's outputs as probabilities, for a model that ends in a sigmoid
            (`model.output=sigmoid`); logits are more exact where a probability is close to 0 or 1.

    Attributes:
        scores: "sigmoid" (independent logits) or "probabilities": what it takes the outputs for.

    Raises:
        ConfigError: there is one class only; values are normalised, or answered as logits.

    Example:
        >>> loss = BinaryCrossEntropy(spec)  # doctest: +SKIP
        >>> loss(paddle.zeros([4, 10]), paddle.zeros([4], dtype="int64")).item()  # doctest: +SKIP
        0.693147
    """

    def __init__(self, spec: DataSpec, *, from_probabilities: bool = False):
        if isinstance(spec.target, Values):
            _check_values(spec.name, spec.target, from_probabilities)
        else:
            check_target("bce", spec)
        self.scores = "probabilities" if from_probabilities else "sigmoid"
        self._is_classification = spec.is_classification
        self._classes = spec.outputs
        self._checked = False

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch and its outputs.

        Args:
            outputs: logits or probabilities [N, K] float32.
            targets: classes [N] int64, or shares [N, K] float32.

        Raises:
            ConfigError: a shape is another one; a share is not from 0 to 1; outputs that should be probabilities are
                none.
        """
        shares = self._shares(outputs, targets)
        if self.scores == "sigmoid":
            return F.binary_cross_entropy_with_logits(outputs, shares)
        self._check_probabilities(outputs)
        yes, no = outputs.clip(min=TINY).log(), (1.0 - outputs).clip(min=TINY).log()
        return -(shares * yes + (1.0 - shares) * no).mean()

    def _shares(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        if self._is_classification:
            what = "logits" if self.scores == "sigmoid" else "probabilities"
            targets = checked_targets("bce", what, self._classes, outputs, targets)
            if targets.ndim == 1:
                return F.one_hot(targets, self._classes).astype(outputs.dtype)
        else:
            differences("bce", outputs, targets)
        if bool((targets < 0).any()) or bool((targets > 1).any()):
            raise ConfigError(
                f"loss=bce needs targets from 0 to 1, but they are from {float(targets.min()):.4g} to "
                f"{float(targets.max()):.4g}. Choose loss=squared_error for other numbers."
            )
        return targets

    def _check_probabilities(self, outputs: paddle.Tensor) -> None:
        """Look at the first batch only: a model that ends otherwise shows it at once."""
        if self._checked:
            return
        if bool((outputs < 0).any()) or bool((outputs > 1).any()):
            other = "loss.from_probabilities=false" if self._is_classification else "choose loss=squared_error"
            raise ConfigError(
                f"loss.from_probabilities=true needs probabilities, but the model's outputs are from "
                f"{float(outputs.min()):.4g} to {float(outputs.max()):.4g}. Set model.output=sigmoid, or {other}."
            )
        self._checked = True


def _check_values(name: str, target: Values, from_probabilities: bool) -> None:
    if any(mean != 0 for mean in target.mean) or any(scale != 1 for scale in target.scale):
        raise ConfigError(
            f"loss=bce needs shares from 0 to 1, but the values of {name} are normalised: (value - mean) / scale with "
            f"mean {list(target.mean)} and scale {list(target.scale)}. Take values that are shares by themselves and "
            "are not normalised, or choose loss=squared_error."
        )
    if not from_probabilities:
        raise ConfigError(
            f"loss=bce: what a model answers to the values of {name} is taken as the values themselves, and logits "
            "are none. Set loss.from_probabilities=true model.output=sigmoid."
        )
