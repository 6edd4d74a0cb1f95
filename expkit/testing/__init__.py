"""The conformance kit: a component that keeps its promises is one that the framework can rely on.

What a kind promises is listed by ``promises("model")``; docs/conformance.md has all of them. In a plugin's own tests,
one test for each promise of each component that the distribution announces:

    import pytest
    from expkit.testing import conformance_cases

    @pytest.mark.parametrize("case", conformance_cases("acme-expkit"), ids=str)
    def test_conforms(case):
        case.run()

Or one test a component, announced or not, from any test runner:

    from expkit.testing import check_model
    from my_plugin import MyModel

    def test_my_model():
        check_model(MyModel, hidden=8)

A failure lists every promise that is broken: where the component is defined, the option and the data it is about, what
was expected, what was found, and how to mend it. A promise that is not for a component is skipped with a reason, by
``skip={"alone": "batch statistics are the point"}`` or, once for all, by an attribute ``exempt`` of the component with
the same content. A component may refuse data that it is not made for by raising `ConfigError`; it must accept one of
the specs, which are `trial_specs()` unless given. The global generators are left as they were.
"""

from expkit.testing import (  # noqa: F401 - each adds the promises of its kind
    callback,
    common,
    dataset,
    learner,
    learner_state,
    loss,
    metric,
    model,
    optimizer,
    regularizer,
    schedule,
    transform,
)
from expkit.testing.cases import Case, conformance_cases
from expkit.testing.checks import (
    CHECKS,
    check_callback,
    check_dataset,
    check_learner,
    check_loss,
    check_metric,
    check_model,
    check_optimizer,
    check_options,
    check_regularizer,
    check_schedule,
    check_transform,
)
from expkit.testing.examination import entries_of, examine, examine_entry
from expkit.testing.examples import example_batch, example_specs, trial_specs
from expkit.testing.promises import Promise, promises
from expkit.testing.report import ConformanceError, Outcome, Problem, Report

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
