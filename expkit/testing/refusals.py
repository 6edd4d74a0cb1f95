"""What every component promises of options out of range: it refuses them in words, or works with them."""

from __future__ import annotations

import ast
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_origin

from expkit.api import DataSpec, ExpkitError
from expkit.option_types import option_type
from expkit.testing.promises import promise
from expkit.testing.report import NotApplicable, broken, require
from expkit.testing.subject import Subject

Use = Callable[[DataSpec | None, Any], None]
_USES: dict[str, Use] = {}
_CHOICE = "no such choice"


def uses(kind: str) -> Callable[[Use], Use]:
    """Say how a component of a kind is used once, which shows whether it works with an option."""

    def add(use: Use) -> Use:
        _USES[kind] = use
        return use

    return add


@promise(
    name="refuses",
    each="option",
    text="A value out of range is refused with a ConfigError that names the option and the value, or works; it never "
    "fails with another error, and neither NaN nor a choice that there is not is accepted.",
)
def refuses(subject: Subject, option: str) -> None:
    """Build and use it with values that are likely to be wrong."""
    specs = subject.fitting()
    suspects = list(_suspects(subject.parameters[option]))
    if not suspects:
        raise NotApplicable("no value of its type is out of range")
    written = f"{subject.kind.config_group}.{option}={{{option}}}: must be ..."
    mend = f'in the constructor: raise ConfigError(f"{written}"), with what is allowed'
    for value, wrong in suspects:
        given = f"{option}={value!r}"
        error = _error_of(subject, specs[0] if specs else None, {option: value})
        if error is None:
            nan = f"; nan is neither below nor above a number: `if not {option} >= 0`" if value != _CHOICE else ""
            require(not wrong, expected=f"a ConfigError for {given}", got="it is accepted", mend=mend + nan)
        elif isinstance(error, ExpkitError):
            said = str(error)
            expected = f"an error for {given} that names the option and the value"
            require(option in said and _named(value, said), expected=expected, got=said, mend=mend)
        else:
            found = subject.problem(error)
            got = f"{found.got.splitlines()[0]}{f', at {found.place}' if found.place else ''}"
            broken(expected=f"a ConfigError for {given}, or that it works", got=got, mend=mend)


def _error_of(subject: Subject, spec: DataSpec | None, options: Mapping[str, Any]) -> Exception | None:
    """Build and use a component; return the error that this ends in, if any."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of what is computed with such values
            _USES.get(subject.kind.name, _no_use)(spec, subject.make(spec, options))
    except Exception as error:  # noqa: BLE001 - of a plugin's code
        return error
    return None


def _no_use(spec: DataSpec | None, part: Any) -> None:
    """Leave it at that."""


def _suspects(parameter: inspect.Parameter) -> Iterator[tuple[Any, bool]]:
    """Yield values that may be out of range, each with whether it has to be refused."""
    written = parameter.annotation
    written = written if isinstance(written, str) else inspect.formatannotation(written)
    if _has_choices(written):
        yield _CHOICE, True
        return
    found = option_type(written)
    kinds = get_args(found) if get_origin(found) not in (list, dict) else ()
    for kind in kinds or (found,):
        yield from ((value, isinstance(value, float) and math.isnan(value)) for value in _extremes(kind))


def _has_choices(written: str) -> bool:
    try:
        tree = ast.parse(written, mode="eval")
    except SyntaxError:
        return False
    return any(isinstance(n, (ast.Name, ast.Attribute)) and "Literal" in ast.unparse(n) for n in ast.walk(tree))


def _extremes(kind: Any) -> tuple[Any, ...]:
    """Return values of a type that are likely to be out of range."""
    inner = get_args(kind)
    if get_origin(kind) is list and inner:
        return ([], *([value] for value in _extremes(inner[0])))
    if kind is int:
        return (-1, 0)
    if kind is float:
        return (-1.0, 0.0, math.nan, math.inf)
    return ()


def _named(value: Any, text: str) -> bool:
    """Say whether a message shows a value."""
    if isinstance(value, list):
        return all(_named(item, text) for item in value)
    whole = isinstance(value, float) and value.is_integer()
    return str(value) in text or (whole and str(int(value)) in text)
