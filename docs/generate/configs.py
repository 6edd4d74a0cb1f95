"""The reference of the config groups, from the comments of the files in `conf`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from expkit import paths, registry, settings
from expkit.cli.experiments import EXPERIMENT
from generate.writing import Pages, code, plain, table, title

_LINE = re.compile(
    r"(?P<indent> *)(?:- )?(?P<key>[\w/ ]+):(?: +(?P<value>(?:'[^']*'|[^#\s]| (?!\s*#))*))?\s*(?:# *(?P<doc>.*))?"
)
_ROOT = "The root config"


def write(pages: Pages) -> None:
    """Write the page `configs`."""
    folder = paths.conf_dir()
    text = title("Config groups") + (
        "What a run is made of beside its components: every key of the files in ``conf``, with its default. "
        "``group=option`` chooses a file of a group, ``group.key=value`` sets a key. The options of datasets, models "
        "and all other components are in :doc:`the gallery <components/index>`; whole experiments have :doc:`a page "
        "of their own <experiments>`. ``python -m expkit --cfg job +experiment=mnist_cnn`` prints what a command "
        "composes to.\n\n"
    )
    text += f".. _config-root:\n\n{title(_ROOT, 2)}" + "".join(_file(folder / f"{paths.ROOT_CONFIG}.yaml", ""))
    for group in sorted(
        {path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")} - {".", EXPERIMENT}
    ):
        text += f".. _config-{group.replace('/', '-')}:\n\n{title(group, 2)}"
        for path in sorted((folder / group).glob("*.yaml")):
            text += f"**{_choice(group, path.stem)}**\n\n" + "".join(_file(path, group.replace("/", ".")))
    pages.write("configs.rst", text)


def _choice(group: str, name: str) -> str:
    plus = "+" if group in ("debug", "search") else ""
    return code(f"{plus}{group}={name}")


def _file(path: Path, prefix: str) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("#").strip() for line in _opening(lines) if not line.startswith("# @")]
    yield from (f"{_paragraph(text)}\n\n" for text in "\n".join(head).split("\n\n") if text)
    wide = any(line.startswith("# @package _global_") for line in lines)
    rows = list(_rows(lines, "" if wide else prefix, _types(prefix)))
    if rows:
        yield table(["key", "type", "default", "what it is"], rows, [28, 12, 20, 40])


def _opening(lines: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:first]


def _paragraph(text: str) -> str:
    return "\n".join(code(line) if line.startswith("python -m") else plain(line) for line in text.splitlines())


def _rows(lines: list[str], prefix: str, types: dict[str, str]) -> Iterator[list[str]]:
    """Read the keys of a file, which have a comment each, by its lines: a YAML parser drops comments."""
    above: list[tuple[int, str]] = []
    for line in lines[len(_opening(lines)) :]:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        depth = len(found["indent"]) + 2 * line.lstrip().startswith("- ")
        above = [(d, key) for d, key in above if d < depth]
        path = [key for _, key in above]
        above.append((depth, found["key"].strip()))
        value, doc = (found["value"] or "").strip(), found["doc"] or ""
        if path[:1] == ["defaults"]:
            yield [_group(found["key"]), "", code(value), plain(doc)]
        elif value or doc:
            key = ".".join([*([prefix] if prefix else []), *path, found["key"].strip()])
            yield [code(key), code(types.get(found["key"], "")), code(value), plain(doc)]


def _group(key: str) -> str:
    """Return a group of the list of defaults, and where its choices are."""
    name = key.removeprefix("override ").strip().lstrip("/")
    kinds = {kind.config_group: kind.plural for kind in registry.KINDS}
    if name in kinds:
        return f":doc:`{name} <components/{kinds[name]}/index>`"
    known = (paths.conf_dir() / name).is_dir() and "override" not in key
    return f":ref:`{name} <config-{name.replace('/', '-')}>`" if known else code(name)


def _types(group: str) -> dict[str, str]:
    """Return the types of the keys of a group of the framework, as the schema has them."""
    schema = next((f for f in dataclasses.fields(settings.Settings) if f.name == group), None)
    if group == "":
        schema_class = settings.Settings
    elif schema is not None and dataclasses.is_dataclass(schema.default_factory):
        schema_class = schema.default_factory
    else:
        return {}
    return {field.name: _type(field.type) for field in dataclasses.fields(schema_class)}


def _type(found: object) -> str:
    text = found if isinstance(found, str) else getattr(found, "__name__", str(found))
    text = str(found).replace("typing.", "") if "[" in str(found) else text
    return re.sub(r"Optional\[(.*)\]", r"\1 | None", text)
