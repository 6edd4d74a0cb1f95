"""Whether a model's outputs are what its loss takes them for: a softmax too many or too few trains without an error."""

from typing import Any

import numpy as np

from expkit.api import Array, ConfigError, DataSpec

FITTING = {
    "logits": ("logits", "sigmoid"),
    "probabilities": ("probabilities",),
    # They are logits, too: the softmax of their logarithms gives the probabilities back.
    "log_probabilities": ("log_probabilities", "logits"),
}
"""What a loss may take the outputs for, for each of the things that they can be."""

REMEDIES = {
    "logits": "Leave the softmax out of the model (model.output=logits), or tell the loss of it "
    "(loss.from_probabilities=true).",
    "sigmoid": "Leave the last function out of the model (model.output=logits), or tell the loss of it "
    "(loss.from_probabilities=true).",
    "probabilities": "Let the model end in softmax (model.output=softmax, or sigmoid for loss=bce), or the loss take "
    "logits (loss.from_probabilities=false).",
    "log_probabilities": "Let the model end in log-softmax (model.output=log_softmax), or choose loss=cross_entropy.",
}


def check_scores(model: Any, loss: Any, spec: DataSpec, outputs: Array) -> None:
    """Refuse a model whose outputs are known to be something else than what the loss takes them for.

    Args:
        model: says what it answers by an attribute `scores`; of one that does not, a softmax is seen by its outputs.
        loss: says what it takes by an attribute `scores`; one that does not takes logits of classes.
        spec: of the data.
        outputs: of the model for any inputs, [N, K].

    Raises:
        ConfigError: the two do not fit.
    """
    wanted = getattr(loss, "scores", "logits" if spec.is_classification and spec.outputs > 1 else "")
    said = getattr(model, "scores", None)
    answered = said if isinstance(said, str) and said in FITTING else _recognised(outputs)
    if wanted in REMEDIES and answered and wanted not in FITTING[answered]:
        taken = "independent logits" if wanted == "sigmoid" else wanted
        raise ConfigError(
            f"model {type(model).__name__} answers {answered.replace('_', '-')}, but loss "
            f"{getattr(loss, '__name__', type(loss).__name__)} takes its outputs for {taken.replace('_', '-')}. "
            f"{REMEDIES[wanted]}"
        )


def _recognised(outputs: Array) -> str:
    """Return "probabilities" or "log_probabilities" for outputs [N, K] that can be nothing else, and "" for others."""
    if outputs.shape[1] < 2 or not np.isfinite(outputs).all():
        return ""
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1.0, atol=1e-5):
        return "probabilities"
    if (outputs <= 0).all() and np.allclose(np.exp(outputs).sum(axis=1), 1.0, atol=1e-5):
        return "log_probabilities"
    return ""
