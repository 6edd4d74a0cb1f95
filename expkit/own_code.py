"""Code of the user's own that is in no distribution: found beside the config, read as text, brought back for old runs.

A module counts as the user's own when it lies directly in one of the `roots`: the current folder, and the folder of
`--config-dir` and the one around it. What a run used of it is part of its config (`own_code`: the hash of each file),
and lies in its folder (`code/`). See docs/design/0022-files-without-packaging.md.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

from expkit.errors import ConfigError
from expkit.masking import masked
from expkit.secret_names import MASK
from expkit.source import module_spec

KEY, FOLDER = "own_code", "code"
"""Of the resolved config, and of a run folder."""
PLUGINS = "plugins"
"""Folder of components that are chosen by name: plugins/models.py, or plugins/models/*.py."""
VARIABLE = "EXPKIT_CODE_ROOTS"
"""Hands the roots to other processes, as PYTHONPATH does with folders; "." is the current folder."""

log = logging.getLogger("expkit")


class Written(NamedTuple):
    """A class or function in the folder of components."""

    name: str
    module: str
    attribute: str
    file: str


def roots() -> list[Path]:
    """Return the folders whose modules are the user's own, in the order in which Python finds them."""
    return [Path(one).absolute() for one in _listed()]


def add_root(folder: Path) -> None:
    """Let modules in a folder count as the user's own, after those of the current one."""
    _list([*_listed(), *([str(folder.absolute())] if folder.absolute() not in roots() else [])])


def reach() -> None:
    """Let Python find what lies in the roots: recorded code first, the rest where the command line has put it."""
    listed = _listed()
    before = listed[: listed.index(".")]
    for place in reversed(before):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(len(before), here)
    sys.path += [place for place in listed[listed.index(".") + 1 :] if place not in sys.path]


def own_file(module: str) -> Path | None:
    """Return the file of a module of the user's own; None where it is none of these, or Python finds another."""
    path = _lies_here(module)
    spec = None if path is None else module_spec(module)
    return path if spec is not None and spec.origin and Path(spec.origin).absolute() == path else None


def _lies_here(module: str) -> Path | None:
    parts = module.split(".")
    for root in roots():
        base = root.joinpath(*parts)
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if path.is_file() and root.joinpath(parts[0]) != Path(__file__).parent:
                return path
    return None


def shadowed(module: str) -> str:
    """Return what a file of the user's own has the name of: "Python's own module 'json'"; empty where of nothing."""
    top = module.partition(".")[0]
    if _lies_here(module) is None:
        return ""
    if top in sys.stdlib_module_names:
        return f"Python's own module {top!r}"
    places = [Path(place or ".").absolute() for place in sys.path]
    for place in (place for place in places if place not in roots()):
        if (place / f"{top}.py").is_file() or (place / top / "__init__.py").is_file():
            return f"the installed module {top!r} ({place})"
    return ""


def components(words: Iterable[str]) -> dict[str, list[Written]]:
    """Return what is written in the folder of components by the word that names its kind.

    Public classes and functions count, or those in a file's `__all__`; a file that is not Python has none.

    Args:
        words: such as "models": names of a file, or of a folder of files.
    """
    found: dict[str, list[Written]] = {}
    for root in roots():
        folder = root / PLUGINS
        if not folder.is_dir():
            continue
        for word in words:
            for path in (folder / f"{word}.py", *sorted((folder / word).glob("[!_]*.py"))):
                if path.is_file():
                    rest = path.relative_to(root)
                    module, shown = ".".join(rest.with_suffix("").parts), f"./{rest.as_posix()}"
                    found.setdefault(word, []).extend(
                        Written(component_name(name), module, name, shown) for name in _read(path, *_stamp(path)).public
                    )
    return found


def broken_files(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the files in the folder of components that are not Python, each with the reason."""
    found = []
    for root in roots():
        for word in words:
            for path in (root / PLUGINS / f"{word}.py", *sorted((root / PLUGINS / word).glob("[!_]*.py"))):
                if path.is_file() and (why := _read(path, *_stamp(path)).broken):
                    found.append((f"./{path.relative_to(root).as_posix()}", why))
    return found


def defined(module: str) -> tuple[str, ...]:
    """Return the public classes and functions of a module of the user's own."""
    path = own_file(module)
    return () if path is None else _read(path, *_stamp(path)).public


def gather(modules: Iterable[str]) -> dict[str, str]:
    """Return the hash of each file that these modules are made of: their own, and what they import beside them.

    Args:
        modules: of the chosen components; those that are not the user's own count for nothing.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = None if module in seen else own_file(module)
        seen.add(module)
        if path is not None:
            read = _read(path, *_stamp(path))
            found[_relative(path)] = read.digest
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            waiting += [module.rpartition(".")[0]] if "." in module else []
            waiting += _imported(read.imports, package)
    return dict(sorted(found.items()))


def texts(hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the text of the files that a config names, without secrets; those that are not here are left out."""
    found = {name: path for name in hashes if (path := _here(name)) is not None}
    return {
        name: masked(path.read_bytes().decode("utf-8", "surrogateescape"), code=True) for name, path in found.items()
    }


def bring_back(hashes: Mapping[str, str], folder: Path | None, *, of: str = "the run") -> None:
    """Let the modules of a recorded config be what they were: today's files where they are the same, else recorded.

    Args:
        hashes: of the config.
        folder: of the run; the files are in it, or in one around it (of its sweep), below `code`.
        of: whose files they are, for messages.

    Raises:
        ConfigError: a file is otherwise today, or not here, and was not recorded.
    """
    today = {name: path for name in hashes if (path := _here(name)) is not None}
    other = [name for name, path in today.items() if _read(path, *_stamp(path)).digest != hashes[name]]
    if len(today) == len(hashes) and not other:
        reach()
        return
    kept = None if folder is None else _kept(hashes, folder.absolute())
    if kept is None:
        name = (other or [name for name in hashes if name not in today])[0]
        said = "has changed since then" if name in other else "is not in the current folder"
        raise ConfigError(
            f"{of} was made with {name}, which {said}, and its text was not recorded there. Bring it "
            "back, or begin anew."
        )
    damaged = [n for n in hashes if _read(kept / n, *_stamp(kept / n)).digest != hashes[n]]
    if damaged:
        file = kept / damaged[0]
        secret = MASK in file.read_text(encoding="utf-8", errors="replace")
        why = f"passwords in it were not recorded ({MASK})" if secret else "it is damaged"
        raise ConfigError(f"{file} is not what {of} was made with: {why}. Bring {damaged[0]} of then back.")
    if other:
        log.warning(
            "%s: changed since %s was made, which is done with the recorded text (%s). A new run takes today's.",
            *(", ".join(other), of, kept),
        )
    _list([str(kept), *(one for one in _listed() if one != str(kept))])
    _forget(hashes)
    reach()


def write(folder: Path, hashes: Mapping[str, str], *, shared: bool = False) -> None:
    """Write the files that a config names into a folder, without secrets; what is there is kept.

    Args:
        folder: of a run or of a sweep.
        hashes: of the config.
        shared: whether others, maybe with other texts, are kept there, too.
    """
    place = folder / FOLDER / (_set(hashes) if shared else "")
    for name, text in texts({n: h for n, h in hashes.items() if not (place / n).is_file()}).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))


def _set(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:12]


def _kept(hashes: Mapping[str, str], folder: Path) -> Path | None:
    """Return where the texts of a config lie: with a run, or with the sweep or the run that it is in."""
    for around in (folder, *list(folder.parents)[:3]):
        for place in (around / FOLDER, around / FOLDER / _set(hashes)):
            if all((place / name).is_file() for name in hashes):
                return place
    return None


def leave_recorded() -> None:
    """Let today's files count again, where a recorded config was used before in this process."""
    listed = _listed()
    before = listed[: listed.index(".")]
    for place in before:
        while place in sys.path:
            sys.path.remove(place)
        _forget([path.relative_to(place).as_posix() for path in Path(place).rglob("*.py")])
    if before:
        _list(listed[listed.index(".") :])


class _Read(NamedTuple):
    digest: str
    public: tuple[str, ...]
    imports: tuple[ast.Import | ast.ImportFrom, ...]
    broken: str


@lru_cache(maxsize=1000)
def _read(path: Path, stamp: int, size: int) -> _Read:
    """Read a file; where it was changed, its stamp or size is another one."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    try:
        tree = ast.parse(content, filename=str(path))
    except (SyntaxError, ValueError) as error:
        return _Read(digest, (), (), f"line {getattr(error, 'lineno', '?')}: {getattr(error, 'msg', error)}")
    imports = tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))
    return _Read(digest, tuple(_public(tree)), imports, "")


def _public(tree: ast.Module) -> Iterator[str]:
    chosen = None
    for one in tree.body:
        if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in one.targets):
            chosen = [n.value for n in ast.walk(one.value) if isinstance(n, ast.Constant)]
    for one in tree.body:
        if isinstance(one, (ast.ClassDef, ast.FunctionDef)) and (
            one.name in chosen if chosen is not None else not one.name.startswith("_")
        ):
            yield one.name


def _imported(statements: Iterable[ast.Import | ast.ImportFrom], package: str) -> Iterator[str]:
    for one in statements:
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
            continue
        try:
            base = resolve_name("." * one.level + (one.module or ""), package)
        except (ImportError, ValueError):  # more dots than packages
            continue
        yield base
        yield from (f"{base}.{alias.name}" for alias in one.names)


def _listed() -> list[str]:
    listed = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    return listed if "." in listed else [*listed, "."]


def _list(places: list[str]) -> None:
    os.environ[VARIABLE] = os.pathsep.join(places)


def _here(name: str) -> Path | None:
    return next((path for root in roots() if (path := root / name).is_file()), None)


def _relative(path: Path) -> str:
    return next(path.relative_to(root).as_posix() for root in roots() if path.is_relative_to(root))


def _forget(names: Iterable[str]) -> None:
    """Let Python import these files anew, from wherever they are now."""
    for name in names:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        sys.modules.pop(module, None)
        parent, _, last = module.rpartition(".")
        if hasattr(sys.modules.get(parent), last):
            delattr(sys.modules[parent], last)
    importlib.invalidate_caches()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def component_name(name: str) -> str:
    """Return a class's name as components are called: "TinyNet" -> "tiny_net"."""
    spaced = ["_" + c if c.isupper() and i and _begins(name, i) else c for i, c in enumerate(name)]
    return "".join(spaced).lower()


def _begins(name: str, i: int) -> bool:
    """Say whether a word begins with this capital: one behind a small letter, or the last of several."""
    return name[i - 1] != "_" and (not name[i - 1].isupper() or name[i + 1 : i + 2].islower())
