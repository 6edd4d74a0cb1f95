"""The reference of what plugins import, from `expkit.api.__all__`, and of the kit that checks them."""

from __future__ import annotations

import inspect
import re
import sys
from types import ModuleType
from typing import Any, get_origin

from sphinx.pycode import ModuleAnalyzer

from expkit import api, testing
from generate.writing import Pages, title

GROUPS = {
    "Contracts": "What a component of each kind has to be, and what it is given.",
    "Data": "What a dataset returns, and how samples become inputs and outputs become answers.",
    "Events": "What callbacks are told.",
    "Errors": "What a component raises for a user's mistake; `python -m expkit` shows the message without a traceback.",
    "Functions and values": "",
}

_STAR = re.compile(r"(?<=[\[( ])\*(?=\w)(?!\w[^*\]]*\*)")
_ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?numpy\.dtype\[~?(?:typing\.)?Any\]\]")
_CODE = re.compile(r"(?<!:):$")
_DASH = re.compile(r"(?<=\s\s)-$")


def write(pages: Pages) -> None:
    """Write the pages `api` and `testing`."""
    members: dict[str, list[str]] = {group: [] for group in GROUPS}
    modules = []
    for name in api.__all__:
        found = getattr(api, name)
        if isinstance(found, ModuleType):
            modules.append(found)
        else:
            members[_group(name, found)].append(_directive(api, name, found))
    text = title("The module expkit.api") + ".. automodule:: expkit.api\n\n"
    for group, about in GROUPS.items():
        text += title(group, 2) + about + "\n\n" + "".join(members[group])
    for module in modules:
        text += title(module.__name__, 2) + _module(module)
    pages.write("api.rst", text)
    pages.write("testing.rst", title("The module expkit.testing") + _module(testing))


def tidy_signature(
    app: Any, what: str, name: str, found: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Leave out the constructor of a protocol, which has none; say `Array` where the code does."""
    if what == "class" and getattr(found, "_is_protocol", False):
        return "", returned
    shown = [text and _ARRAY.sub("Array", text).replace("<factory>", "...") for text in (signature, returned)]
    return shown[0], shown[1]


def tidy_types(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Say of attributes what the code says, in a docstring that napoleon has read."""
    for number, line in enumerate(lines):
        if line.startswith(":vartype "):
            lines[number] = _ARRAY.sub("Array", line).replace("collections.abc.", "")


def escape_marks(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Let shapes such as [N, *shape], and cells that are a dash, be what they are in a docstring that is to be read."""
    if what == "module":  # code in it is indented only
        lines[:] = [
            _CODE.sub("::", line) if _opens_code(lines[i + 1 : i + 3]) else line for i, line in enumerate(lines)
        ]
    lines[:] = [_DASH.sub(r"\\-", _STAR.sub(r"\\*", line)) for line in lines]


def _opens_code(following: list[str]) -> bool:
    return len(following) == 2 and not following[0] and following[1].startswith("    ")


def _group(name: str, found: Any) -> str:
    if not inspect.isclass(found) or get_origin(found) is not None:
        return "Functions and values"
    if issubclass(found, BaseException):
        return "Errors"
    return {"expkit.api": "Contracts", "expkit.events": "Events"}.get(found.__module__, "Data")


def _module(module: ModuleType) -> str:
    members = [_directive(module, name, getattr(module, name)) for name in module.__all__]
    return f".. automodule:: {module.__name__}\n\n" + "".join(members)


def _directive(module: ModuleType, name: str, found: Any) -> str:
    path = f"{module.__name__}.{name}"
    if inspect.isfunction(found):
        return f".. autofunction:: {path}\n\n"
    if inspect.isclass(found) and get_origin(found) is None:
        return f".. autoclass:: {path}\n   :members:\n\n"
    shown = f"   :value: {found}\n" if isinstance(found, str) or get_origin(found) is not None else ""
    return f".. py:data:: {name}\n{shown}\n" + "".join(f"   {line}\n" for line in _said(module, name, found)) + "\n"


def _said(module: ModuleType, name: str, found: Any) -> list[str]:
    """Return what is said below a value, in this module or in the one from which it is taken."""
    others = sorted(n for n, m in sys.modules.items() if n.startswith("expkit.") and vars(m).get(name) is found)
    docs = (ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name)) for home in (module.__name__, *others))
    return next((lines for lines in docs if lines), [])
