"""Describes a component: its options with types, defaults and docs, from its source and without importing it.

The source is enough for a plain function, or a class with its own `__init__`. Everything else (inherited or decorated
signatures, dataclasses, ``**kwargs``) is imported and inspected. So are computed defaults, unless their source text
will do.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from expkit import own_code, source
from expkit.docstring import option_docs, summary_line
from expkit.errors import PluginError, did_you_mean
from expkit.option_types import option_type, type_text
from expkit.paddle_import import quiet_import
from expkit.registry import Entry
from expkit.source import Definition, find_definition, module_spec, parse, source_file


class Required:
    """Stands in the place of a default that does not exist."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required()
_REMEDY_AUTHOR = "Correct the entry point in its pyproject.toml, or tell its author."


@dataclass(frozen=True)
class Computed:
    """Stands in the place of a default that is known by its source text only, such as ``2 * BASE``."""

    source: str

    def __str__(self) -> str:
        return f"(computed: {self.source})"


@dataclass(frozen=True)
class Option:
    """One option of a component.

    Attributes:
        name: as typed after "model.".
        type: a type that OmegaConf can check, or Any.
        type_text: the type as the author wrote it, or "" for none.
        default: plain value (tuples are lists, paths are strings), `REQUIRED`, or `Computed` if nothing was to be run.
        doc: from the docstring, on one line.
    """

    name: str
    type: Any
    type_text: str
    default: Any
    doc: str


@dataclass(frozen=True)
class Description:
    """What there is to know about a component before it is imported.

    Attributes:
        summary: first paragraph of its docstring, on one line.
        doc: the whole docstring.
        options: in the order of the signature.
        source: the file that defines it.
        line: where in that file, counted from 1.
        takes_any: whether it takes options beside these (``**kwargs``).
    """

    summary: str
    doc: str
    options: tuple[Option, ...]
    source: Path
    line: int
    takes_any: bool = False


LOADER_OPTIONS: Final = (
    Option("batch_size", int, "int", 64, "samples in one optimizer step"),
    Option("shuffle", bool, "bool", True, "new order of the training split each epoch"),
    Option("drop_last", bool, "bool", False, "leave out the last, smaller batch of a pass"),
    Option("repeat", int, "int", 1, "passes over the training split that make one epoch"),
    Option("loading", str, "str", "auto", "where training batches are made: auto, sync, prefetch, workers"),
    Option("prefetch", int, "int", 4, "batches made ahead; each worker may have one more"),
    Option("workers", int, "int", 2, "processes for loading=workers"),
)
"""Options that the framework adds to every dataset; a dataset's own option of that name comes first."""


@dataclass(frozen=True)
class _Parameter:
    name: str
    annotation: str
    default: Any


def describe(entry: Entry, *, run: bool = True) -> Description:
    """Describe a component.

    Args:
        entry: the component.
        run: import it to learn the values of computed defaults; without, their source text answers (`Computed`).

    Raises:
        PluginError: its module is missing or broken, or does not have the announced attribute.
    """
    found = definition(entry)
    if found is None:
        _check_defined(entry)
        return _describe_object(entry, _import(entry))
    node = found.node
    parameters = _static_parameters(node)
    computed = any(isinstance(parameter.default, Computed) for parameter in parameters or ())
    if parameters is None or (run and computed):
        imported = _import(entry)
        parameters, docs, further = _runtime_parameters(entry, imported), _runtime_docs(imported), _takes_any(imported)
    else:
        docs, further = _static_docs(node), False
    doc = ast.get_docstring(node) or ""
    options = _options(entry, parameters, docs)
    return Description(summary_line(doc), doc, options, found.path, node.lineno, further)


def summarize(entry: Entry) -> str:
    """Return a component's one-line description from its source alone; empty if only an import could tell.

    Raises:
        PluginError: as far as the source shows, the component cannot be used.
    """
    found = definition(entry)
    if found is not None:
        return summary_line(ast.get_docstring(found.node) or "")
    _check_defined(entry)
    return ""


def _check_defined(entry: Entry) -> None:
    path = source_file(entry.module)
    if path is not None and not source.may_define(parse(path), entry.attribute.partition(".")[0]):
        known = own_code.defined(entry.module)
        meant = did_you_mean(entry.attribute, known or source.defined_names(parse(path)))
        near = f" ({meant.strip() or 'it has ' + ', '.join(known)})" if known else ""
        raise _broken(entry, f"{path} defines no {entry.attribute!r}{near}", f"{meant} {_REMEDY_AUTHOR}".strip())


def _broken(entry: Entry, cause: str, remedy: str) -> PluginError:
    owner = f"{entry.distribution} {entry.version}"
    if entry.own and remedy != "Correct that file.":
        remedy = f"Correct {entry.distribution}, or what names it."
    return PluginError(
        f"{entry.kind.name} {entry.name!r} of {owner} ({entry.target}) cannot be used: {cause}. {remedy}"
    )


def definition(entry: Entry) -> Definition | None:
    """Return where a component is defined, from its source alone; None if only an import could tell.

    Raises:
        PluginError: as `summarize` does.
    """
    try:
        if module_spec(entry.module) is None:
            again = f"nstall {entry.distribution} again (`pip install -e .` for a checkout)."
            near = did_you_mean(entry.module, source.near_modules(entry.module)).strip()
            remedy = f"{near} Correct the entry point, and i{again}" if near else f"I{again}"
            raise _broken(entry, f"there is no module {entry.module!r}", remedy)
        if not entry.attribute:
            raise _broken(
                entry, "its entry point ends in a module", f"Write {entry.module}:NAME there, of a class in it."
            )
        found = find_definition(entry.module, entry.attribute)
    except SyntaxError as error:
        cause = f"syntax error in {error.filename}:{error.lineno}: {error.msg}"
        raise _broken(entry, cause, "Correct that file.") from error
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # importing a parent package runs its author's code
        raise _import_failed(entry, error) from error
    missing = source.missing_imports(found.module) if found is not None else []
    if missing:
        modules = " and ".join(repr(name) for name in missing)
        remedy = f"Install what provides it, or uninstall {entry.distribution}."
        raise _broken(entry, f"it imports {modules}, which is not installed", remedy)
    return found


def _import(entry: Entry) -> Any:
    try:
        with quiet_import():
            found = importlib.import_module(entry.module)
        for name in entry.attribute.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        raise _broken(entry, str(error), _REMEDY_AUTHOR) from error
    except (Exception, SystemExit) as error:  # an import runs its author's code
        raise _import_failed(entry, error) from error
    return found


def _import_failed(entry: Entry, error: BaseException) -> PluginError:
    if isinstance(error, ModuleNotFoundError):
        return _broken(entry, str(error), f"Install what provides it, or update {entry.distribution} {entry.version}.")
    cause = f"importing it raises {type(error).__name__}: {error}"
    return _broken(entry, cause, f"Update {entry.distribution}, or uninstall it.")


def _describe_object(entry: Entry, found: Any) -> Description:
    options = _options(entry, _runtime_parameters(entry, found), _runtime_docs(found))
    doc = inspect.getdoc(found) or ""
    try:
        path = Path(inspect.getsourcefile(found) or inspect.getfile(found))
        line = inspect.getsourcelines(found)[1]
    except (OSError, TypeError):  # a compiled or computed object
        path, line = source_file(entry.module) or Path(entry.module), 1
    return Description(summary_line(doc), doc, options, path, line, _takes_any(found))


def _static_parameters(node: ast.ClassDef | ast.FunctionDef) -> list[_Parameter] | None:
    """Read the parameters from the syntax tree; None where that could be wrong."""
    if node.decorator_list:
        return None
    if isinstance(node, ast.FunctionDef):
        return _arguments(node.args, skip_first=False)
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    if "__new__" in methods or node.keywords:
        return None
    init = methods.get("__init__")
    if init is None:
        return None if node.bases else []
    return None if init.decorator_list else _arguments(init.args, skip_first=True)


def _arguments(arguments: ast.arguments, skip_first: bool) -> list[_Parameter] | None:
    if arguments.vararg or arguments.kwarg:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*none, *arguments.defaults], strict=True))[1 if skip_first else 0 :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [
        _Parameter(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "",
            REQUIRED if default is None else _literal(default),
        )
        for argument, default in pairs
    ]


def _literal(default: ast.expr) -> Any:
    try:
        return ast.literal_eval(default)
    except (ValueError, TypeError):
        return Computed(ast.unparse(default))


def _runtime_parameters(entry: Entry, found: Any) -> list[_Parameter]:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError) as error:
        raise _broken(entry, f"its parameters cannot be read ({error})", _REMEDY_AUTHOR) from error
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    factories = _default_factories(found)
    return [
        _Parameter(
            name,
            "" if parameter.annotation is parameter.empty else inspect.formatannotation(parameter.annotation),
            factories[name]()
            if name in factories
            else REQUIRED
            if parameter.default is parameter.empty
            else parameter.default,
        )
        for name, parameter in signature.parameters.items()
        if parameter.kind not in variadic
    ]


def _takes_any(found: Any) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(found).parameters.values())


def _default_factories(found: Any) -> dict[str, Any]:
    """Return the `default_factory` of each field of a dataclass that has one."""
    if not dataclasses.is_dataclass(found):
        return {}
    missing = dataclasses.MISSING
    return {f.name: f.default_factory for f in dataclasses.fields(found) if f.default_factory is not missing}


def _static_docs(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    docs = option_docs(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                docs |= option_docs(ast.get_docstring(item) or "")
    return docs


def _runtime_docs(found: Any) -> dict[str, str]:
    """Collect option docs of a function, or of a class and those it inherits from; the nearest wins."""
    docs: dict[str, str] = {}
    for owner in reversed(inspect.getmro(found)) if inspect.isclass(found) else (found,):
        docs |= option_docs(inspect.cleandoc(owner.__doc__ or ""))
        if inspect.isclass(owner) and "__init__" in vars(owner):
            docs |= option_docs(inspect.cleandoc(owner.__init__.__doc__ or ""))
    return docs


def _options(entry: Entry, parameters: list[_Parameter], docs: dict[str, str]) -> tuple[Option, ...]:
    options = [
        Option(
            parameter.name,
            _type(parameter),
            type_text(parameter.annotation),
            plain(parameter.default),
            docs.get(parameter.name, ""),
        )
        for parameter in parameters
        if parameter.name not in entry.kind.supplied
    ]
    if entry.kind.name == "dataset":
        own = {option.name for option in options}
        options += [option for option in LOADER_OPTIONS if option.name not in own]
    return tuple(options)


def _type(parameter: _Parameter) -> Any:
    found = option_type(parameter.annotation)
    return found | None if parameter.default is None and found is not Any else found


def plain(value: Any) -> Any:
    """Turn a default into what a YAML file could hold."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
