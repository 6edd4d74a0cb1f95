"""Which pictures a run gets, and what is drawn on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from expkit import plotting
from expkit.api import Array
from expkit.callbacks import History
from expkit.preparation import Prepared
from expkit.runlog import log

AUGMENTED = 16
"""Samples of the first batch that are shown beside what the transforms made of them."""


def draw(
    prepared: Prepared, history: History, folder: Path, title: str, mistakes: int, check: Callable[[], None]
) -> None:
    """Draw the pictures; one that cannot be drawn is a warning, for the results are whole without it.

    Args:
        prepared: the experiment, its learner with the best weights.
        history: of training.
        folder: where to.
        title: above each picture.
        mistakes: how many of the worst are shown.
        check: called between batches; raises when somebody asked to stop.
    """
    spec, split = prepared.data.spec, prepared.data.test
    outputs, targets = _answers(prepared, check)
    drawings: list[Callable[[], object]] = [
        lambda: plotting.draw_curves(folder, title, history.steps, history.epochs),
    ]
    if spec.is_classification:
        drawings += [
            lambda: plotting.draw_confusion(folder, title, spec, outputs, targets),
            lambda: plotting.draw_mistakes(folder, title, spec, split, outputs, targets, mistakes),
        ]
    else:
        drawings.append(lambda: plotting.draw_values(folder, title, spec, outputs, targets))
    train = prepared.batches["train"]
    if train.transforms:
        before, after = (train.raw(1, 0, augment=augment) for augment in (False, True))
        drawings.append(lambda: plotting.draw_augmented(folder, title, spec, before, after, AUGMENTED))
    for each in drawings:
        try:
            each()
        except Exception as error:  # noqa: BLE001 - Matplotlib fails in many ways on unusual labels
            log.warning("A picture of %s could not be drawn: %s: %s", folder, type(error).__name__, error)


def _answers(prepared: Prepared, check: Callable[[], None]) -> tuple[Array, Array]:
    outputs, targets = [], []
    for inputs, wanted in prepared.batches["test"].epoch():
        outputs.append(prepared.learner.predict(inputs))
        targets.append(wanted)
        check()
    return np.concatenate(outputs), np.concatenate(targets)
