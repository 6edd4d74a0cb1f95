"""The contract of each kind, as one promise."""

from __future__ import annotations

import functools

from expkit.testing.engine import check_loss, check_model
from expkit.testing.learner import check_learner
from expkit.testing.plain import check_callback, check_dataset, check_metric, check_transform
from expkit.testing.promises import promise
from expkit.testing.report import ConformanceError as Failed
from expkit.testing.report import broken
from expkit.testing.subject import Subject
from expkit.testing.updates import check_optimizer, check_regularizer, check_schedule

_OLD = {
    "model": check_model,
    "loss": check_loss,
    "metric": check_metric,
    "transform": check_transform,
    "learner": check_learner,
    "callback": check_callback,
    "optimizer": check_optimizer,
    "regularizer": check_regularizer,
    "schedule": check_schedule,
}


@promise(name="contract", text="It keeps the contract of its kind in expkit.api.")
def contract(subject: Subject) -> None:
    """Try all at once."""
    try:
        if subject.kind.name == "dataset":
            check_dataset(subject.made())
        else:
            _OLD[subject.kind.name](functools.partial(subject.component, **subject.options))
    except Failed as error:
        broken(expected="the contract in expkit/api.py", got=error)
