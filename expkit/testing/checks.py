"""One function for each kind that tries all promises of a component, for tests that name their components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from expkit.api import Data, DataSpec
from expkit.testing.examination import outcome_of, report_of, reported
from expkit.testing.promises import promises
from expkit.testing.report import Report
from expkit.testing.subject import Subject

Specs = Iterable[DataSpec] | None
Skip = Mapping[str, str] | None
Component = Callable[..., Any]


def check_model(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a model; see `check`."""
    return check("model", component, specs=specs, skip=skip, options=options)


def check_loss(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a loss; see `check`."""
    return check("loss", component, specs=specs, skip=skip, options=options)


def check_optimizer(component: Component, /, *, skip: Skip = None, **options: Any) -> Report:
    """Check an optimizer; see `check`."""
    return check("optimizer", component, skip=skip, options=options)


def check_schedule(component: Component, /, *, skip: Skip = None, **options: Any) -> Report:
    """Check a schedule; see `check`."""
    return check("schedule", component, skip=skip, options=options)


def check_regularizer(component: Component, /, *, skip: Skip = None, **options: Any) -> Report:
    """Check a regularizer; see `check`."""
    return check("regularizer", component, skip=skip, options=options)


def check_metric(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a metric; see `check`."""
    return check("metric", component, specs=specs, skip=skip, options=options)


def check_transform(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a transform; see `check`."""
    return check("transform", component, specs=specs, skip=skip, options=options)


def check_learner(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a learner; see `check`."""
    return check("learner", component, specs=specs, skip=skip, options=options)


def check_callback(component: Component, /, *, specs: Specs = None, skip: Skip = None, **options: Any) -> Report:
    """Check a callback; see `check`."""
    return check("callback", component, specs=specs, skip=skip, options=options)


def check_dataset(component: Component | Data, /, *, skip: Skip = None, **options: Any) -> Report:
    """Check a dataset's function, or what it has returned; see `check`.

    Of data that are given, the promises about the function and its options are not applicable.
    """
    if isinstance(component, Data):
        return _checked(Subject("dataset", None, given=component, skip=skip))
    return check("dataset", component, skip=skip, options=options)


def check(
    kind: str,
    component: Component,
    *,
    specs: Specs = None,
    skip: Skip = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """Try every promise of a component.

    Args:
        kind: such as "model".
        component: its class or function.
        specs: data to try; `trial_specs()` when left out.
        skip: promises that do not apply, each with the reason.
        options: to build it with, in place of its defaults.

    Raises:
        ConformanceError: promises are broken, or could not be tried; names all of them.
        ConfigError: `skip` names no promise of the kind, or gives no reason.
    """
    return _checked(Subject(kind, component, options=options, specs=specs, skip=skip))


def check_options(kind: str, component: Component) -> Report:
    """Try those promises that need no component to be built: those about its description and its options.

    Args:
        kind: such as "model".
        component: its class or function.

    Raises:
        ConformanceError: promises are broken; names all of them.
    """
    subject = Subject(kind, component)
    early = [promise for promise in promises(kind) if promise.needs != "build"]
    found = reported(subject, tuple(outcome_of(subject, promise) for promise in early))
    found.require()
    return found


def _checked(subject: Subject) -> Report:
    found = report_of(subject)
    found.require()
    return found


CHECKS: Mapping[str, Callable[..., Report]] = {
    "dataset": check_dataset,
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
"""The check of each kind."""
