"""The conformance kit: a component that passes its check keeps the promises that the framework relies on.

One check for each kind of component, and no test framework is needed. In a plugin's own tests:

    from expkit.testing import check_model
    from my_plugin import MyModel

    def test_my_model_keeps_the_promises_of_a_model():
        check_model(MyModel)

Options are tried with `functools.partial(MyModel, hidden=[8])`. A component may refuse data that it is not
made for by raising `ConfigError`; it must accept one of the specs, which are `example_specs()` unless given.
`check_model` seeds Paddle's global generator, `check_learner` all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from expkit.testing import common, contract  # noqa: F401 - they add their promises
from expkit.testing.base import check_options
from expkit.testing.cases import Case, conformance_cases
from expkit.testing.engine import check_loss, check_model
from expkit.testing.examination import entries_of, examine, examine_entry
from expkit.testing.examples import example_batch, example_specs, trial_specs
from expkit.testing.learner import check_learner
from expkit.testing.plain import check_callback, check_dataset, check_metric, check_transform
from expkit.testing.promises import Promise, promises
from expkit.testing.report import ConformanceError, Outcome, Problem, Report
from expkit.testing.updates import check_optimizer, check_regularizer, check_schedule

__all__ = [
    "CHECKS",
    "Case",
    "ConformanceError",
    "Outcome",
    "Problem",
    "Promise",
    "Report",
    "check_callback",
    "check_dataset",
    "check_learner",
    "check_loss",
    "check_metric",
    "check_model",
    "check_optimizer",
    "check_options",
    "check_regularizer",
    "check_schedule",
    "check_transform",
    "conformance_cases",
    "entries_of",
    "examine",
    "examine_entry",
    "example_batch",
    "example_specs",
    "promises",
    "trial_specs",
]

CHECKS: Mapping[str, Callable[[Callable[..., Any]], None]] = {
    "model": check_model,
    "loss": check_loss,
    "optimizer": check_optimizer,
    "schedule": check_schedule,
    "regularizer": check_regularizer,
    "metric": check_metric,
    "transform": check_transform,
    "learner": check_learner,
    "callback": check_callback,
}
"""The check of each kind of component that can be built from example data alone."""
