"""Cross entropy between classes and logits."""

import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

from expkit.api import ConfigError, DataSpec


class CrossEntropy:
    """Softmax cross entropy of logits and classes, mean over the batch (Bishop 2006, eq. 4.108).

    Args:
        spec: supplied; targets must be classes.
        label_smoothing: share of each target spread evenly over all classes (Szegedy et al. 2016, sec. 7).

    Raises:
        ConfigError: the targets are no classes; label_smoothing is not from 0 to below 1.

    Example:
        >>> loss = CrossEntropy(spec, label_smoothing=0.1)  # doctest: +SKIP
        >>> loss(paddle.zeros([4, 10]), paddle.zeros([4], dtype="int64")).item()  # doctest: +SKIP
        2.302585
    """

    def __init__(self, spec: DataSpec, *, label_smoothing: float = 0.0):
        if not spec.is_classification:
            raise ConfigError(
                f"loss=cross_entropy needs classes, but the targets of {spec.name} are numbers. "
                "Choose loss=squared_error."
            )
        if spec.outputs < 2:
            raise ConfigError(f"loss=cross_entropy needs two classes or more; {spec.name} has {spec.outputs}.")
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(f"loss.label_smoothing={label_smoothing}: must be from 0 to below 1.")
        self.classes = spec.outputs
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return the mean over the batch.

        Args:
            outputs: logits [N, K] float32.
            targets: classes [N] int64.

        Raises:
            ConfigError: a shape is another one.
        """
        if targets.ndim != 1 or outputs.shape != [targets.shape[0], self.classes]:
            raise ConfigError(
                f"loss=cross_entropy needs logits [N, {self.classes}] and classes [N], but the model "
                f"answered {list(outputs.shape)} to targets {list(targets.shape)}. "
                "The model must have one output a class."
            )
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
