"""What all checks share: example data, building a component as the framework does, and its documentation."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from expkit.api import (
    ConfigError,
    DataSpec,
)
from expkit.option_types import option_type
from expkit.registry import kind_named
from expkit.testing.examples import example_specs
from expkit.testing.report import ConformanceError

Component = Callable[..., Any]
BY_TARGET = "dict[str, object]"
"""The type of an option that is a class and its arguments, given by `_target_`: nobody can check what is in it."""


def require(kept: bool, component: object, promise: str) -> None:
    """Go on if the promise is kept.

    Raises:
        ConformanceError: it is not.
    """
    if not kept:
        raise ConformanceError(f"{name_of(component)}: {promise}")


def name_of(component: object) -> str:
    """Name for messages."""
    while isinstance(component, functools.partial):
        component = component.func
    return str(getattr(component, "__qualname__", None) or type(component).__qualname__)


def build(component: Component, **supplied: Any) -> Any:
    """Call a component as the framework does: with those supplied values that it asks for by name."""
    asked = inspect.signature(component).parameters
    return component(**{name: value for name, value in supplied.items() if name in asked})


def each_fitting(
    component: Component,
    specs: Iterable[DataSpec] | None,
    *,
    supply: Callable[[DataSpec], Mapping[str, Any]] = lambda spec: {"spec": spec},
) -> Iterator[tuple[DataSpec, Any]]:
    """Build the component for each spec that it does not refuse with a `ConfigError`.

    Args:
        component: class or function.
        specs: `example_specs()` when None.
        supply: what the framework would supply for a spec.

    Raises:
        ConformanceError: it refuses every spec.
    """
    refusals, accepted = [], 0
    for spec in example_specs() if specs is None else specs:
        try:
            part = build(component, **supply(spec))
        except ConfigError as error:
            refusals.append(str(error))
            continue
        accepted += 1
        yield spec, part
    require(accepted > 0, component, f"accepts none of the specs: {' / '.join(refusals)}")


def check_options(kind: str, component: Component) -> None:
    """Check what users see: a description, and each option with a type that can be checked and a line of text.

    Args:
        kind: such as "model"; what the framework supplies to this kind is no option.
        component: class or function.

    Raises:
        ConformanceError: a promise is broken.
    """
    target = component.func if isinstance(component, functools.partial) else component
    text = inspect.cleandoc(target.__doc__ or "")
    first = text.partition("\n")[0]
    require(bool(first), target, "has no docstring; its first line is the description that users see")
    documented = _documented(text)
    for option in inspect.signature(target).parameters.values():
        if option.name in kind_named(kind).supplied:
            continue
        variadic = option.kind in (option.VAR_POSITIONAL, option.VAR_KEYWORD, option.POSITIONAL_ONLY)
        require(not variadic, target, f"parameter {option} cannot be an option; name every option")
        annotation = option.annotation
        written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        require(
            annotation is not option.empty and _is_checked(option_type(written.replace(BY_TARGET, "str"))),
            target,
            f"option {option.name!r} needs a type that can be checked, such as int, float | None, list[int], "
            f'dict[str, float], Literal["a", "b"] or Path; {BY_TARGET} for a class that users give by its _target_',
        )
        require(
            option.name in documented,
            target,
            f"option {option.name!r} has no line under Args: of the docstring",
        )


def _is_checked(found: Any) -> bool:
    """Say whether the framework checks all of a type, with what is in a list or dict."""
    return found is not Any and all(map(_is_checked, get_args(found)))


def _documented(text: str) -> set[str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    return set(re.findall(r"^ +(\w+)(?: \(.*\))?: \S", section[1], re.MULTILINE)) if section else set()
