"""`python -m expkit new plugin NAME`: a distribution of your own that works as it is written."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from expkit import registry
from expkit.cli.experiments import experiment_names, presets
from expkit.errors import ConfigError, did_you_mean
from expkit.report import make_console, quote_path
from expkit.scaffold import Sketch, check_name, render, sketches, write

ALL = "all"


def main(arguments: list[str]) -> int:
    """Write a project, and say how to go on.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ConfigError: the name cannot be used, or the folder cannot be written.
    """
    options = _parser().parse_args(arguments)
    if options.what != "plugin":
        near = did_you_mean(options.what, ["plugin"])
        raise ConfigError(f"new {options.what}: only a plugin can be made.{near} python -m expkit new plugin NAME")
    chosen = _kinds(options.kinds or ["dataset,model"])
    package = check_name(options.name)
    _refuse_clashes(package, chosen)
    folder = Path(options.into or options.name)
    files = render(options.name, [sketch.kind.name for sketch in chosen])
    write(files, folder)
    commands = next_commands(folder, package, chosen[0])
    if options.json:
        sys.stdout.write(json.dumps({"folder": str(folder), "files": sorted(files), "next": commands}, indent=2) + "\n")
        return 0
    _show(folder, package, chosen, files, commands)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit new",
        description="Write the project of a plugin: a distribution with one working component of each kind, a preset "
        "of it, an experiment and tests. It can be installed, run and tested as it is.",
        epilog="example: python -m expkit new plugin acme --kinds model,loss",
    )
    parser.add_argument("what", metavar="plugin", help="what to make")
    parser.add_argument("name", metavar="NAME", help="of the distribution and of its package, such as acme")
    parser.add_argument(
        "--kinds",
        action="append",
        metavar="KIND,...",
        help=f"any of {', '.join(sketches())}, or {ALL} (default: dataset,model)",
    )
    parser.add_argument("--into", metavar="FOLDER", help="folder of the project, new or empty (default: NAME, here)")
    parser.add_argument("--json", action="store_true", help="for programs: folder, files and next commands")
    return parser


def _kinds(told: Iterable[str]) -> list[Sketch]:
    """Return the components that are asked for, in the order of kinds.

    Raises:
        ConfigError: there is no such kind.
    """
    known = sketches()
    words = [word.strip() for text in told for word in text.split(",") if word.strip()]
    names: set[str] = set()
    for word in words:
        if word == ALL:
            names.update(known)
            continue
        kinds = [kind for kind in registry.KINDS if word in _words(kind)]
        if not kinds:
            near = did_you_mean(word, [each for kind in registry.KINDS for each in _words(kind)[:2]])
            raise ConfigError(f"--kinds {word}: there is no such kind.{near} Kinds: {', '.join(known)}, {ALL}.")
        names.add(kinds[0].name)
    if not names:
        raise ConfigError(f"--kinds names no kind. Kinds: {', '.join(known)}, {ALL}.")
    return [sketch for name, sketch in known.items() if name in names]


def _words(kind: registry.Kind) -> tuple[str, ...]:
    return (kind.name, kind.plural)


def _refuse_clashes(package: str, chosen: Iterable[Sketch]) -> None:
    """Refuse names of components, presets or an experiment that somebody brings already.

    Raises:
        ConfigError: such a name is taken.
    """
    taken = [f"experiment {package}"] if package in experiment_names() else []
    for sketch in chosen:
        name = sketch.name.replace("plugin_name", package)
        if name in registry.entries(sketch.kind) or name in [preset.name for preset in presets(sketch.kind)]:
            taken.append(f"{sketch.kind.name} {name}")
    if taken:
        raise ConfigError(f"a plugin called {package!r} would bring what is there already: {', '.join(taken)}.")


def next_commands(folder: Path, package: str, first: Sketch) -> list[str]:
    """Return the commands that install, list, run and test a project, as they are typed."""
    plural = first.kind.plural
    return [
        f"python -m pip install -e {shlex.quote(f'{_as_path(folder)}[test]')}",
        f"python -m expkit list {plural}",
        f"python -m expkit +experiment={package}",
        f"python -m pytest {quote_path(folder)}",
    ]


def _as_path(folder: Path) -> str:
    """Write a folder so that pip takes it for no name of a distribution."""
    return str(folder) if folder.is_absolute() or str(folder).startswith("..") else f"./{folder.as_posix()}"


def _show(folder: Path, package: str, chosen: list[Sketch], files: Iterable[str], commands: list[str]) -> None:
    console = make_console()
    console.print(f"{quote_path(folder)}: {len(list(files))} files", soft_wrap=True, markup=False, highlight=False)
    for sketch in chosen:
        name, module = sketch.name.replace("plugin_name", package), f"src/{package}/{sketch.module}.py"
        console.print(
            f"  {sketch.kind.name:<12}{name:<{len(package) + 14}}{module}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    console.print("\nNext:", markup=False)
    for command in commands:
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
