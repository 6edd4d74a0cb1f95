"""`python -m expkit show KIND/NAME`: one component with its options, or one experiment."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit import registry
from expkit.cli.experiments import Experiment, choices, experiment_names, experiments
from expkit.cli.listing import EXPERIMENT_WORDS, kind_or_experiments, origin_of
from expkit.errors import ConfigError, PluginError, did_you_mean
from expkit.registry import Entry
from expkit.signature import REQUIRED, Description, Option, describe

COMMAND = "python -m expkit"


def main(arguments: list[str]) -> int:
    """Print a component or an experiment.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: there is none of that name, or it is broken.
    """
    parser = argparse.ArgumentParser(
        prog=f"{COMMAND} show",
        description="Show a component with its options, or an experiment.",
        epilog=f"examples: {COMMAND} show model/cnn; {COMMAND} show experiment/mnist_cnn",
    )
    parser.add_argument("what", nargs="+", metavar="KIND/NAME", help="what to show; NAME alone will do")
    parser.add_argument("--json", action="store_true", help="for scripts: a JSON object")
    options = parser.parse_args(arguments)
    found = find("/".join(options.what))
    console = None if options.json else Console(highlight=False)
    if isinstance(found, Experiment):
        _show_experiment(found, console)
    else:
        _show_component(found, describe(found), console)
    return 0


def find(path: str) -> Entry | Experiment:
    """Find what "model/cnn", "experiment/mnist_cnn" or just "cnn" means.

    Raises:
        ExpkitError: there is no such thing, or more than one.
    """
    kind, slash, name = path.strip("/").partition("/")
    if slash and kind in EXPERIMENT_WORDS:
        return _experiment(name)
    if slash:
        return registry.find(kind_or_experiments(kind), name)
    return _named(kind)


def _experiment(name: str) -> Experiment:
    known = {experiment.name: experiment for experiment in experiments()}
    if name not in known:
        names = ", ".join(known) or "none"
        raise ConfigError(f"no experiment is called {name!r}.{did_you_mean(name, known)} Known: {names}.")
    return known[name]


def _named(name: str) -> Entry | Experiment:
    """Find by the name alone."""
    everything = {kind: registry.entries(kind) for kind in registry.KINDS}
    kinds = [kind for kind, entries in everything.items() if name in entries]
    is_experiment = name in experiment_names()
    if len(kinds) + is_experiment > 1:
        paths = [f"{kind.name}/{name}" for kind in kinds] + [f"experiment/{name}"] * is_experiment
        raise ConfigError(f"{name!r} has more than one meaning: {', '.join(paths)}. Name one of them.")
    if kinds:
        return registry.find(kinds[0], name)
    if is_experiment:
        return _experiment(name)
    known = [n for entries in everything.values() for n in entries] + experiment_names()
    raise PluginError(
        f"nothing is called {name!r}.{did_you_mean(name, known)} `{COMMAND} list` lists all there is."
    )


def _show_component(entry: Entry, description: Description, console: Console | None) -> None:
    example = example_command(entry, description)
    origin = f"{entry.distribution} {entry.version}"
    source = f"{description.source}:{description.line}"
    if console is None:
        _write_json(
            kind=entry.kind.name,
            group=entry.kind.config_group,
            name=entry.name,
            summary=description.summary,
            doc=description.doc,
            options=[_option_json(option) for option in description.options],
            source=source,
            distribution=entry.distribution,
            version=entry.version,
            target=entry.target,
            example=example,
        )
        return
    console.print(f"[bold]{entry.kind.name} {escape(entry.name)}[/bold]  {escape(description.summary)}\n")
    if description.options:
        console.print(_options_table(description.options))
    else:
        console.print("It has no options.")
    _print_facts(console, {"from": origin, "source": source, "use": example})


def _options_table(options: tuple[Option, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("option", no_wrap=True, style="cyan")
    table.add_column("type", overflow="fold", max_width=22)
    table.add_column("default", overflow="fold", max_width=16)
    table.add_column("what it is", ratio=1)
    for option in options:
        default = "(required)" if option.default is REQUIRED else as_override(option.default)
        table.add_row(option.name, escape(option.type_text), escape(default), escape(option.doc))
    return table


def _show_experiment(experiment: Experiment, console: Console | None) -> None:
    command = f"{COMMAND} +experiment={experiment.name}"
    chosen = choices(experiment)
    if console is None:
        _write_json(
            kind="experiment",
            name=experiment.name,
            summary=experiment.summary,
            doc=experiment.comment,
            sets=chosen,
            source=str(experiment.path),
            origin=origin_of(experiment.owner),
            example=command,
        )
        return
    console.print(f"[bold]experiment {escape(experiment.name)}[/bold]\n")
    console.print(escape(experiment.comment), soft_wrap=True)
    if chosen:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("it sets", no_wrap=True, style="cyan")
        table.add_column("to", overflow="fold")
        for key, value in chosen.items():
            table.add_row(escape(key), escape(as_override(value)))
        console.print()
        console.print(table)
    _print_facts(
        console,
        {"from": origin_of(experiment.owner), "source": str(experiment.path), "run": command},
    )


def _print_facts(console: Console, facts: dict[str, str]) -> None:
    width = max(map(len, facts)) + 2
    console.print()
    for name, fact in facts.items():
        console.print(f"[bold]{name:<{width}}[/bold]{escape(fact)}", soft_wrap=True)


def example_command(entry: Entry, description: Description) -> str:
    """Return a command line that chooses a component and sets an option of it."""
    group, name = entry.kind.config_group, entry.name
    known = experiment_names()
    words = [f"+experiment={'mnist_cnn' if 'mnist_cnn' in known else known[0]}"] if known else []
    words.append(f"{group}=[{name}]" if entry.kind.many else f"{group}={name}")
    prefix = f"{group}.{name}" if entry.kind.many else group
    required = [option for option in description.options if option.default is REQUIRED]
    words += [f"{prefix}.{option.name}=VALUE" for option in required]
    simple = [option for option in description.options if _is_simple(option.default)]
    if simple and not required:
        words.append(f"{prefix}.{simple[0].name}={as_override(simple[0].default)}")
    return " ".join([COMMAND, *(word if _is_plain(word) else shlex.quote(word) for word in words)])


def as_override(value: Any) -> str:
    """Write a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(as_override(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return value if value and _is_plain(value) else repr(value)
    return str(value)


def _is_plain(word: str) -> bool:
    return all(c.isalnum() or c in "+-_=./:" for c in word)


def _is_simple(value: Any) -> bool:
    return value is not REQUIRED and value is not None and value not in ("", [], {})


def _option_json(option: Option) -> dict[str, Any]:
    required = option.default is REQUIRED
    default = None if required else option.default
    fields = {"name": option.name, "type": option.type_text, "required": required}
    return {**fields, "default": default, "doc": option.doc}


def _write_json(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields, indent=2, default=str) + "\n")
