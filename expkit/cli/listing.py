"""`python -m expkit list [KIND]`: what can be chosen, without importing any of it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit import registry
from expkit.cli.experiments import EXPERIMENT, ConfFile, experiments, presets
from expkit.distributions import NOT_PACKAGED, misfit
from expkit.errors import PluginError, did_you_mean
from expkit.registry import Entry, Kind
from expkit.signature import summarize

EXPERIMENT_WORDS = ("experiment", "experiments")


@dataclass(frozen=True)
class Row:
    """One line of the list.

    Attributes:
        kind: "model", "experiment".
        group: the config group, as typed before `=`.
        name: as typed behind it.
        summary: one line.
        origin: distribution and version, or folder.
        target: "module:attribute", or the path of the file of an experiment or preset.
        broken: why it cannot be used, or None.
    """

    kind: str
    group: str
    name: str
    summary: str
    origin: str
    target: str
    broken: str | None = None


def main(arguments: list[str]) -> int:
    """Print the list.

    Args:
        arguments: behind the verb.

    Returns:
        0, also when a plugin is broken: that is said in its line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit list",
        description="List components, their presets, and experiments that can be chosen.",
        epilog="examples: python -m expkit list models; python -m expkit list experiments --json",
    )
    kinds = ", ".join(kind.plural for kind in registry.KINDS)
    parser.add_argument("kind", nargs="?", help=f"only these: experiments, {kinds}")
    parser.add_argument("--json", action="store_true", help="for scripts: a JSON list of objects")
    options = parser.parse_args(arguments)
    rows = rows_of(options.kind)
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        _print(rows, options.kind)
    return 0


def rows_of(word: str | None) -> list[Row]:
    """Return the lines for a kind, or for all kinds and the experiments.

    Raises:
        PluginError: there is no such kind.
    """
    if word in EXPERIMENT_WORDS:
        return [_file_row(experiment) for experiment in experiments()]
    if word is not None:
        return _kind_rows(kind_or_experiments(word))
    components = [row for kind in registry.KINDS for row in _kind_rows(kind)]
    return [*components, *(_file_row(experiment) for experiment in experiments())]


def kind_or_experiments(word: str) -> Kind:
    """Return the kind that a word means, with experiments among the suggestions if there is none."""
    try:
        return registry.kind_named(word)
    except PluginError as error:
        near = did_you_mean(word, ["experiments"])
        raise PluginError(f"{error}. Experiments can be listed too: `list experiments`.{near}") from None


def origin_of(owner: str) -> str:
    """Return who brings a config folder, with a version where that is expkit."""
    return f"expkit {version('expkit')}" if owner == "expkit" else owner


def _kind_rows(kind: Kind) -> list[Row]:
    """Return the lines of a kind: components, then presets."""
    rows = [_component_row(entry, found) for found in registry.entries(kind).values() for entry in found]
    for file, why in registry.useless_files((kind,)):
        rows.append(Row(kind.name, kind.config_group, Path(file).stem, "", f"{file} {NOT_PACKAGED}", file, why))
    return rows + [_file_row(preset, kind) for preset in presets(kind)]


def _component_row(entry: Entry, same_name: tuple[Entry, ...]) -> Row:
    broken, summary = None, ""
    rivals = [other for other in same_name if other is not entry]
    try:
        summary = summarize(entry)
    except PluginError as error:
        broken = str(error).partition("cannot be used: ")[2] or str(error)
    if rivals:
        broken = "the same name is announced by " + " and ".join(f"{e.distribution} {e.version}" for e in rivals)
    unfit = misfit(entry.distribution)
    if unfit is not None:
        broken = f"{unfit.text}. {unfit.remedy}"
    origin = f"{entry.distribution} {entry.version}"
    return Row(entry.kind.name, entry.kind.config_group, entry.name, summary, origin, entry.target, broken)


def _file_row(file: ConfFile, kind: Kind | None = None) -> Row:
    name, group = (kind.name, kind.config_group) if kind else (EXPERIMENT, f"+{EXPERIMENT}")
    return Row(name, group, file.name, file.summary, origin_of(file.owner), str(file.path))


def _print(rows: list[Row], word: str | None) -> None:
    console = Console(highlight=False)
    if not rows:
        console.print(f"Nothing is installed: {word or 'components'}.", markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("kind", no_wrap=True, style="cyan")
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("what it is", ratio=1)
    table.add_column("from", overflow="fold", max_width=20)
    previous = ""
    for row in rows:
        what = f"[red]broken: {escape(row.broken)}[/red]" if row.broken else escape(row.summary)
        if previous and row.kind != previous:
            table.add_row()
        table.add_row(row.kind, escape(row.name), what, escape(row.origin))
        previous = row.kind
    console.print(table)
    first = rows[0]
    console.print(f"\nMore about one of them: python -m expkit show {first.kind}/{first.name}", markup=False)
