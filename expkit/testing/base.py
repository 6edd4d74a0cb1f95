"""What all checks share: example data, building a component as the framework does, and its documentation."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

import numpy as np

from expkit.api import (
    Array,
    Batch,
    Classes,
    ConfigError,
    DataSource,
    DataSpec,
    ImageInput,
    TableInput,
    Values,
)
from expkit.option_types import option_type
from expkit.registry import kind_named

Component = Callable[..., Any]


class ConformanceError(AssertionError):
    """A component breaks a promise of its kind; the message says which."""


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


def example_specs() -> tuple[DataSpec, ...]:
    """Specs of three tasks: grey images of ten classes, colour images of five, a table with one value."""
    source = DataSource("generated", "expkit.testing")
    grey = ImageInput(height=28, width=28, channels=1, mean=(0.5,), std=(0.29,))
    colour = ImageInput(height=32, width=32, channels=3, mean=(0.5, 0.5, 0.5), std=(0.29, 0.29, 0.29))
    table = TableInput(tuple(f"x{i}" for i in range(13)), mean=(10.0,) * 13, scale=(2.0,) * 13)
    value = Values(("y",), mean=(20.0,), scale=(5.0,))
    return (
        DataSpec("example grey images", grey, Classes(tuple("0123456789")), source, "0" * 64),
        DataSpec("example colour images", colour, Classes(tuple("abcde")), source, "1" * 64),
        DataSpec("example table", table, value, source, "2" * 64),
    )


def example_batch(spec: DataSpec, *, samples: int = 16, seed: int = 0) -> Batch:
    """Make raw samples with random inputs and targets that fit a spec.

    Args:
        spec: with images (uint8) or a table (float64) as input.
        samples: N.
        seed: equal seeds make equal batches.
    """
    generator = np.random.default_rng(seed)
    if isinstance(spec.input, ImageInput):
        channels, *size = spec.input_shape
        shape = (samples, *size) if channels == 1 else (samples, *size, channels)
        inputs: Array = generator.integers(0, 256, size=shape, dtype=np.uint8)
    else:
        inputs = generator.normal(10.0, 2.0, size=(samples, *spec.input_shape))
    precision = spec.target.precision if isinstance(spec.target, Values) else "float32"
    targets: Array = generator.standard_normal((samples, spec.outputs)).astype(precision)
    if spec.is_classification:
        # The first K samples show every class once.
        targets = (generator.permutation(samples) % spec.outputs).astype(np.int64)
    return Batch(inputs, targets)


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
            annotation is not option.empty and _is_checked(option_type(written)),
            target,
            f"option {option.name!r} needs a type that can be checked, such as int, float | None, list[int], "
            'dict[str, float], Literal["a", "b"] or Path',
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
