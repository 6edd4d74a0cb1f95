"""Turns a type as an author wrote it into one that OmegaConf can check."""

from __future__ import annotations

import ast
import functools
import operator
import types
from typing import Any, Union, get_args, get_origin

_SIMPLE: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "Path": str, "None": None}
_LISTS = frozenset({"list", "List", "tuple", "Tuple", "Sequence"})
_DICTS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_PRIMITIVES = (int, float, str, bool)


def type_text(annotation: str) -> str:
    """Return an annotation for people: without the quotes of a forward reference and without module names."""
    node = _parse(annotation)
    if node is None:
        return annotation
    return ast.unparse(_Bare().visit(node))


def option_type(annotation: str) -> Any:
    """Return a type that OmegaConf can check, or Any.

    ``list[int]``, ``tuple[int, ...]`` and ``Sequence[int]`` are lists, ``Literal["a", "b"]`` is a string,
    a path is a string, and a union is checked if its members are numbers, strings or booleans.
    """
    node = _parse(annotation)
    return _checked(node) if node is not None else Any


class _Bare(ast.NodeTransformer):
    """Shortens ``typing.Optional`` to ``Optional``."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.copy_location(ast.Name(node.attr, ast.Load()), node)


def _parse(annotation: str) -> ast.expr | None:
    try:
        node = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return None
    return _parse(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else node


def _checked(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return option_type(node.value)
        return None if node.value is None else Any
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_checked(node.left), _checked(node.right)])
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _generic(_name(node.value), inner)
    name = _name(node)
    if name in _LISTS:
        return list[Any]
    if name in _DICTS:
        return dict[str, Any]
    return _SIMPLE.get(name, Any)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _generic(name: str, inner: list[ast.expr]) -> Any:
    if name == "Literal":
        values = [getattr(item, "value", ...) for item in inner]
        return _union([None if value is None else type(value) for value in values])
    if name == "Annotated":
        return _checked(inner[0])
    inner_types = [_checked(item) for item in inner if getattr(item, "value", None) is not ...]
    if name == "Optional":
        return _union([*inner_types, None])
    if name == "Union":
        return _union(inner_types)
    if name in _LISTS:
        return list[_union(inner_types)]  # type: ignore[misc]  # built at run time
    if name in _DICTS and len(inner_types) == 2 and inner_types[0] is str:
        return dict[str, inner_types[1]]  # type: ignore[valid-type]  # built at run time
    return Any


def _union(found: list[Any]) -> Any:
    flat = [member for one in found for member in _members(one)]
    members = list(dict.fromkeys(member for member in flat if member is not None))
    if len(members) == 1:
        union = members[0]
    elif members and all(member in _PRIMITIVES for member in members):
        union = functools.reduce(operator.or_, members)
    else:
        return Any
    return union | None if None in flat and union is not Any else union


def _members(found: Any) -> list[Any]:
    """Return the members of a union, with None for its absence; of anything else, itself."""
    if get_origin(found) not in (Union, types.UnionType):
        return [found]
    return [None if member is type(None) else member for member in get_args(found)]
