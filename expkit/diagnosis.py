"""Looks at one step of a learner for where NaN or infinity comes from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from expkit.api import Array, Learner
from expkit.inspection import Look, Origin, Row, find_origin, look_inside, trouble_rows

log = logging.getLogger("expkit")


@dataclass(frozen=True)
class Diagnosis:
    """What was seen of a step.

    Attributes:
        origin: where the first number came up that is not finite.
        rows: batch, layers, loss: the range of their numbers.
    """

    origin: Origin
    rows: Sequence[Row]


def diagnose(learner: Learner, inputs: Array, targets: Array, *, training: bool = True) -> Diagnosis:
    """Run a step layer by layer, without an update; learner and random state stay as they are.

    Args:
        learner: as it was before the step; one without `model` and `loss` is judged by batch and weights alone.
        inputs: normalised [N, *shape].
        targets: [N] int64 or [N, K].
        training: whether it is a step of training; False for one of validation.
    """
    weights = learner.state_dict().model
    look = _look(learner, inputs, targets, training)
    origin = find_origin(look, inputs, targets, weights)
    return Diagnosis(origin, trouble_rows(look, origin, inputs, targets, weights))


def _look(learner: Learner, inputs: Array, targets: Array, training: bool) -> Look | None:
    model, loss = getattr(learner, "model", None), getattr(learner, "loss", None)
    if model is None or loss is None:
        return None
    try:
        return look_inside(model, loss, inputs, targets, training=training, output_gradients=True)
    except Exception as error:  # noqa: BLE001 - a plugin's code; what led here must be told all the same
        log.warning("The layers could not be looked at: %s: %s", type(error).__name__, error)
        return None
