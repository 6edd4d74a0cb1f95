"""Lists what plugins may rely on: the public names of `expkit.api`, with signatures and attributes, as text.

`python -m tests.unit.api_listing` writes the list anew. It refuses to where `expkit.api.VERSION` was not raised enough.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from expkit import api

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.unit.api_listing"


def listing() -> str:
    """Return the list as it is now, one fact a line."""
    return "\n".join([f"expkit.api {api.VERSION}", "", *_of_module(api, ""), ""])


def recorded() -> Path:
    """Return the file that holds the list of this first number: each of them has a list of its own."""
    return FOLDER / f"api_{api.VERSION.partition('.')[0]}.x.txt"


def advice(then: str, now: str) -> str:
    """Say what is otherwise than in the list, and what to do about it; empty where nothing is.

    Args:
        then: the list that is kept.
        now: that of the code.
    """
    before, after = then.splitlines(), now.splitlines()
    if before[1:] == after[1:]:
        return ""
    gone = [line for line in before[1:] if line not in after]
    new = [line for line in after[1:] if line not in before]
    version, wanted = before[0].rpartition(" ")[2], next_version(before[0].rpartition(" ")[2], breaks=bool(gone))
    lines = [*(f"  - {line.strip()}" for line in gone), *(f"  + {line.strip()}" for line in new)]
    rule = (
        "Something that plugins may use was taken away or changed, which breaks those that use it. If that is not "
        f"meant, take it back: a new parameter with a default, or a new name, breaks nobody. If it is, or if each line "
        f"that is gone only gained a parameter with a default (then {next_version(version, breaks=False)})"
        if gone
        else "Something was added for plugins to use. If that is meant"
    )
    return (
        f"expkit.api is not what tests/unit/{recorded().name} says plugins of {version} can rely on:\n"
        + "\n".join(lines)
        + f'\n{rule}: set VERSION = "{wanted}" in expkit/api_version.py, run `{COMMAND}`, and say it in CHANGELOG.md.'
    )


def next_version(version: str, *, breaks: bool) -> str:
    """Return the version that follows for an addition, or for a change that breaks plugins."""
    first, second = map(int, version.split("."))
    return f"{first + 1}.0" if breaks else f"{first}.{second + 1}"


def _of_module(module: ModuleType, prefix: str) -> Iterator[str]:
    for name in sorted(module.__all__):
        found = getattr(module, name)
        if isinstance(found, ModuleType):
            yield from _of_module(found, f"{prefix}{name}.")
        elif inspect.isclass(found):
            yield from _of_class(f"{prefix}{name}", found)
        elif inspect.isroutine(found):
            yield f"def {prefix}{name}{_signature(found)}"
        else:
            yield f"{prefix}{name}"


def _of_class(name: str, found: type[Any]) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in found.__bases__ if base not in (object,))
    kind = "dataclass" if dataclasses.is_dataclass(found) else "class"
    yield f"{kind} {name}({bases})" if bases else f"{kind} {name}"
    fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
    if fields:
        yield from (f"  {name}.{field.name}: {field.type}{_default(field)}" for field in dataclasses.fields(found))
    else:
        if "__init__" in vars(found) and "Protocol" not in bases:
            yield f"  {name}{_signature(found)}"
        for attribute, annotation in vars(found).get("__annotations__", {}).items():
            if not attribute.startswith("_"):
                value = f" = {vars(found)[attribute]!r}" if attribute in vars(found) else ""
                yield f"  {name}.{attribute}: {annotation}{value}"
    for attribute, member in sorted(vars(found).items()):
        if attribute in fields or (attribute.startswith("_") and attribute != "__call__"):
            continue
        if isinstance(member, property):
            yield f"  {name}.{attribute} -> {inspect.signature(member.fget).return_annotation}"  # type: ignore[arg-type]
        elif isinstance(member, (staticmethod, classmethod)) or inspect.isfunction(member):
            yield f"  def {name}.{attribute}{_signature(getattr(found, attribute))}"
    if isinstance(found, type) and issubclass(found, BaseException) and hasattr(found, "exit_code"):
        yield f"  {name}.exit_code = {found.exit_code}"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {_plain(field.default)}"
    made = field.default_factory
    return "" if made is dataclasses.MISSING else f" = {getattr(made, '__name__', made)}()"


def _signature(found: Any) -> str:
    signature = inspect.signature(found)
    parameters = [
        parameter
        if parameter.default is parameter.empty
        else parameter.replace(default=_Text(_plain(parameter.default)))
        for parameter in signature.parameters.values()
    ]
    texts = [p.replace(annotation=_Text(p.annotation)) if isinstance(p.annotation, str) else p for p in parameters]
    answer = signature.return_annotation
    made = signature.replace(parameters=texts, return_annotation=_Text(answer) if isinstance(answer, str) else answer)
    return str(made)


class _Text(str):
    """A default that is written as it stands."""

    def __repr__(self) -> str:
        return str(self)


def _plain(value: Any) -> str:
    """Write a value without addresses, which differ from process to process."""
    return value.__name__ if inspect.isroutine(value) else repr(value) if isinstance(value, str) else str(value)


def write() -> int:
    """Write the list, where the version was raised as far as the changes ask for."""
    file, now = recorded(), listing()
    if file.exists():
        then = file.read_text(encoding="utf-8")
        version = then.partition("\n")[0].rpartition(" ")[2]
        if advice(then, now) and tuple(map(int, api.VERSION.split("."))) <= tuple(map(int, version.split("."))):
            sys.stderr.write(f"{advice(then, now)}\nNothing was written: the version is still {version}.\n")
            return 1
    file.write_text(now, encoding="utf-8")
    sys.stdout.write(f"{file} is written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(write())
