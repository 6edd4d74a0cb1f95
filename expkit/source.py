"""Finds Python source files and what they define, without importing them."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import pkgutil
import tokenize
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

_MAX_HOPS = 5  # re-exports that are followed: `from .cnn import CNN`


@dataclass(frozen=True)
class Definition:
    """Where a class or function is written.

    Attributes:
        node: its syntax tree.
        module: syntax tree of the file around it.
        path: the file.
    """

    node: ast.ClassDef | ast.FunctionDef
    module: ast.Module
    path: Path


def module_spec(module: str) -> ModuleSpec | None:
    """Return where a module comes from, or None if there is no such module.

    Parent packages are not imported where they are ordinary folders; only when a package's own import hook is
    needed does Python's lookup import them.
    """
    top, *parts = module.split(".")
    name, spec = top, _top_level_spec(top)
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            break
        name, parent = f"{name}.{part}", spec
        spec = _submodule_spec(name, list(parent.submodule_search_locations or ()))
        if spec is None and not _changes_its_path(parent):
            return None
    if spec is not None and spec.name == module:
        return spec
    try:
        return importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):  # a parent is missing; a hand-made module without a spec
        return None


def _changes_its_path(package: ModuleSpec) -> bool:
    """Say whether importing a package may add modules to it that are not in its folders."""
    if package.origin is None or not package.origin.endswith(".py"):
        return package.origin is not None  # a namespace has no code of its own
    try:
        return any(word in Path(package.origin).read_text("utf-8", "replace") for word in ("__path__", "meta_path"))
    except OSError:
        return True


def source_file(module: str) -> Path | None:
    """Return the `.py` file of a module, or None if it has none that can be read."""
    spec = module_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    return path if path.is_file() else None


def package_folder(package: str) -> Path | None:
    """Return the folder of a package, or None if it has none on disk."""
    spec = module_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    folder = Path(locations[0]) if locations else None
    return folder if folder is not None and folder.is_dir() else None


def near_modules(module: str) -> list[str]:
    """Return the modules in the package of a module, which need not exist, whose names are much like its own."""
    package, _, name = module.rpartition(".")
    folder = package_folder(package) if package else None
    beside = [] if folder is None else [found.name for found in pkgutil.iter_modules([str(folder)])]
    return [f"{package}.{near}" for near in difflib.get_close_matches(name, beside)]


def parse(path: Path) -> ast.Module:
    """Read a source file in the encoding it declares.

    Raises:
        SyntaxError: it is not Python.
        OSError: it cannot be read.
    """
    with tokenize.open(path) as file:
        return ast.parse(file.read(), filename=str(path))


def find_definition(module: str, attribute: str) -> Definition | None:
    """Find the top-level class or function that `module.attribute` stands for, through plain re-exports.

    Returns:
        None if that cannot be said from the source alone (no source, a computed or conditional definition).

    Raises:
        SyntaxError: a file on the way is not Python.
    """
    for _ in range(_MAX_HOPS):
        path = source_file(module)
        if path is None:
            return None
        tree = parse(path)
        statement = _last_binding(tree, attribute)
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            return Definition(statement, tree, path) if statement.name == attribute else None
        if not isinstance(statement, ast.ImportFrom):
            return None
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        target = _imported_module(statement, package)
        if target is None:
            return None
        module = target
        attribute = next(a.name for a in statement.names if (a.asname or a.name) == attribute)
    return None


def may_define(tree: ast.Module, name: str) -> bool:
    """Say whether a module can have this attribute: bound, imported by `*` or made by `__getattr__`."""
    stars = any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in ast.walk(tree))
    return stars or any(_binds(s, name) or _binds(s, "__getattr__") for s in tree.body)


def defined_names(tree: ast.Module) -> list[str]:
    """Return the classes and functions that a module defines at its top."""
    return [statement.name for statement in tree.body if isinstance(statement, (ast.ClassDef, ast.FunctionDef))]


def missing_imports(tree: ast.Module) -> list[str]:
    """Return the packages that a module imports unconditionally and that are not installed."""
    names: dict[str, None] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in statement.names))
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            names[statement.module.partition(".")[0]] = None
    return [name for name in names if not _is_installed(name)]


def _top_level_spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # in sys.modules without a spec
        return None


def _submodule_spec(name: str, locations: list[str]) -> ModuleSpec | None:
    """Look into folders as Python's PathFinder does, but without asking for the parent in `sys.modules`."""
    namespace = ModuleSpec(name, None, is_package=True)
    folders: list[str] = []
    for location in locations:
        finder = pkgutil.get_importer(location)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        folders += (spec.submodule_search_locations or ()) if spec is not None else ()
    namespace.submodule_search_locations = folders
    return namespace if folders else None


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # in sys.modules without a spec: it is there
        return True


def _imported_module(statement: ast.ImportFrom, package: str) -> str | None:
    """Return the absolute name of the module that `from ... import` names."""
    try:
        return importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
    except ImportError:  # more dots than packages
        return None


def _last_binding(tree: ast.Module, name: str) -> ast.stmt | None:
    return next((statement for statement in reversed(tree.body) if _binds(statement, name)), None)


def _binds(statement: ast.stmt, name: str) -> bool:
    """Say whether a top-level statement gives this name a value."""
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return statement.name == name
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return True
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return True
        if isinstance(node, ast.alias) and (node.asname or node.name.partition(".")[0]) == name:
            return True
    return False
