"""What every component promises, of whatever kind: it can be imported, built, described and configured."""

from __future__ import annotations

import copy
import inspect
import sys
from typing import Any, get_args

from expkit.config import config_found, config_values
from expkit.docstring import option_docs, summary_line
from expkit.option_types import option_type
from expkit.registry import Entry
from expkit.signature import LOADER_OPTIONS, describe, plain
from expkit.testing.promises import promise
from expkit.testing.report import NotApplicable, require
from expkit.testing.subject import Subject

BY_TARGET = "dict[str, object]"
"""The type of an option that is a class and its arguments, given by `_target_`: nobody can check what is in it."""
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


@promise(name="loads", needs="nothing", text="It can be imported from where its entry point says it is.")
def loads(subject: Subject) -> None:
    """Import it."""
    require(callable(subject.component), expected="a class or function", got=repr(subject.component))


@promise(name="described", needs="import", text="The first line of its docstring says what it is.")
def described(subject: Subject) -> None:
    """Look at its docstring."""
    doc = inspect.cleandoc(getattr(subject.component, "__doc__", None) or "")
    require(bool(summary_line(doc)), expected="a docstring, whose first line users see", got="none")


@promise(name="named", needs="import", each="option", text="Each option has a name of its own: no *args, no **kwargs.")
def named(subject: Subject, option: str) -> None:
    """Look for parameters that stand for many."""
    parameter = subject.parameters[option]
    right = parameter.kind not in _VARIADIC
    require(right, expected="an option that can be given by its name", got=parameter, mend="name every option")


@promise(
    name="typed",
    needs="import",
    each="option",
    text="Each option has a type that a config can check, and None for a default only where that allows it.",
)
def typed(subject: Subject, option: str) -> None:
    """Look at its annotation."""
    parameter = subject.parameters[option]
    if parameter.kind in _VARIADIC:
        raise NotApplicable("it is no option by name")
    annotation = parameter.annotation
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    found = option_type(written.replace(BY_TARGET, "str"))
    require(
        annotation is not parameter.empty and _is_checked(found),
        expected="a type that can be checked, such as int, float | None, list[int], dict[str, float], "
        f'Literal["a", "b"] or Path; {BY_TARGET} for a class that users give by its _target_',
        got="no type" if annotation is parameter.empty else written,
    )
    require(
        parameter.default is not None or type(None) in get_args(found),
        expected=f"a type that its default None is of: {option}: {written} | None = None",
        got=f"{option}: {written} = None",
    )


def _is_checked(found: Any) -> bool:
    """Say whether the framework checks all of a type, with what is in a list or dict."""
    return found is not Any and all(map(_is_checked, get_args(found)))


@promise(name="documented", needs="import", each="option", text="Each option has a line under Args: of the docstring.")
def documented(subject: Subject, option: str) -> None:
    """Look for that line in the docstrings of the class, of its `__init__`, and of those it inherits from."""
    if subject.parameters[option].kind in _VARIADIC:
        raise NotApplicable("it is no option by name")
    component: Any = subject.component
    owners = inspect.getmro(component) if inspect.isclass(component) else (component,)
    texts = [owner.__doc__ or "" for owner in owners] + [getattr(component.__init__, "__doc__", None) or ""]
    lines = {name: line for text in texts for name, line in option_docs(inspect.cleandoc(text)).items()}
    text = f'a line "{option}: what it is" under Args:'
    mend = "users see that line in `python -m expkit show` and in the docs"
    require(bool(lines.get(option)), expected=text, got="none", mend=mend)


@promise(
    name="schema",
    needs="import",
    text="Its config has the options of its signature, with their types and defaults, and is what its name finds.",
)
def schema(subject: Subject) -> None:
    """Compare what the config has with what Python says of the signature."""
    entry = _entry(subject)
    described = {option.name: option for option in describe(entry).options}
    if subject.kind.name == "dataset":
        described = {n: o for n, o in described.items() if n in subject.parameters or o not in LOADER_OPTIONS}
    wanted = {n: p for n, p in subject.parameters.items() if p.kind not in _VARIADIC}
    same = sorted(described) == sorted(wanted)
    require(same, expected=f"the options {sorted(wanted)}", got=sorted(described), mend=_PLAINLY)
    config = config_values(entry)
    for name, parameter in wanted.items():
        written = parameter.annotation
        written = written if isinstance(written, str) else inspect.formatannotation(written)
        same = option_type(written) == option_type(described[name].type_text)
        require(same, expected=f"the type {written}", got=described[name].type_text, option=name, mend=_PLAINLY)
        if parameter.default is parameter.empty:
            require(config[name] == "???", expected="no default", got=repr(config[name]), option=name, mend=_PLAINLY)
        elif not _is_default_factory(parameter):
            same = config[name] == plain(parameter.default)
            require(same, expected=f"{parameter.default!r}", got=repr(config[name]), option=name, mend=_PLAINLY)
    if subject.entry is not None and not subject.options:
        found = config_found(entry)
        mend = "a preset of that name may hide it"
        written = f"{config} of {entry.kind.config_group}={entry.name}"
        require(found == config, expected=written, got=found, mend=mend)


_PLAINLY = "its source is read, not run: define it once, plainly, and give defaults that YAML can hold"


def _is_default_factory(parameter: inspect.Parameter) -> bool:
    """Say whether a dataclass makes the default anew each time: the signature then has a stand-in."""
    return type(parameter.default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"


def _entry(subject: Subject) -> Entry:
    """Return the entry point of a component, or one such as it could have."""
    if subject.entry is not None:
        return subject.entry
    component: Any = subject.component
    module, name = str(getattr(component, "__module__", "")), str(getattr(component, "__qualname__", ""))
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not component or module == "__main__":
        raise NotApplicable("it is made inside a function or a script, where no entry point can lead to it")
    return Entry(subject.kind, name, f"{module}:{name}", "its package", "0")


@promise(
    name="builds",
    text="It can be built as the framework builds it, leaves its defaults as they are, and refuses data that it is not "
    "made for with a ConfigError.",
)
def builds(subject: Subject) -> None:
    """Build it for each spec that it does not refuse, and once more where a default could have been changed by it."""
    specs = subject.fitting()
    defaults = {n: p.default for n, p in subject.parameters.items() if isinstance(p.default, (list, dict, set))}
    if not defaults:
        return
    before = copy.deepcopy(defaults)
    subject.make(specs[0] if specs else None)
    for name, default in defaults.items():
        require(
            default == before[name],
            expected=f"the default {before[name]!r} as it was",
            got=f"{default!r} after one more was built",
            option=name,
            mend="Python makes a default once, for all that are built: change a copy of it",
        )
