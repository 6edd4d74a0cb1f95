"""`python -m expkit show KIND/NAME`: one component with its options, one preset, one experiment, or one run."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit import registry
from expkit.cli.choosing import add_place
from expkit.cli.experiments import EXPERIMENT, ConfFile, bases, choices, experiment_names, experiments, presets
from expkit.cli.listing import EXPERIMENT_WORDS, kind_or_experiments, origin_of
from expkit.errors import ConfigError, PluginError, did_you_mean
from expkit.registry import Entry, Kind
from expkit.runs import RECORD
from expkit.signature import REQUIRED, Computed, Description, Option, describe

COMMAND = "python -m expkit"
RUN_WORDS = ("run", "runs")


def main(arguments: list[str]) -> int:
    """Print a component, a preset, an experiment or a run.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: there is none of that name, or it is broken.
    """
    parser = argparse.ArgumentParser(
        prog=f"{COMMAND} show",
        description="Show a component with its options, a preset, an experiment, or all that is known of a run.",
        epilog=f"examples: {COMMAND} show model/cnn; {COMMAND} show experiment/mnist_cnn; {COMMAND} show run last",
    )
    parser.add_argument(
        "what", nargs="+", metavar="KIND/NAME", help="what to show; NAME alone will do. Of a run: run RUN"
    )
    parser.add_argument("--json", action="store_true", help="for scripts: a JSON object")
    add_place(parser)
    options = parser.parse_intermixed_args(arguments)
    run = _run(options.what)
    if run is not None:
        from expkit.cli.show_run import show_run  # components are shown without all that it imports

        return show_run(run, runs_dir=Path(options.runs_dir), uri=options.uri, json=options.json)
    found = find("/".join(options.what))
    console = None if options.json else Console(highlight=False)
    if isinstance(found, ConfFile):
        _show_file(found, console)
    else:
        _show_component(found, describe(found, run=False), console)
    return 0


def _run(words: list[str]) -> str | None:
    """Return the run that is meant by `run RUN` or `run/RUN`; None where something else is."""
    if len(words) == 1 and (Path(words[0]) / RECORD).is_file():  # its folder, typed without the word
        return words[0]
    kind, slash, name = words[0].partition("/")
    if kind not in RUN_WORDS:
        return None
    reference = "/".join([*([name] if slash else []), *words[1:]])
    if not reference:
        raise ConfigError(
            f"which run? `{COMMAND} show run last`, or its folder, its id or the end of it, or its MLflow run id. "
            f"`{COMMAND} runs` lists them."
        )
    return reference


def find(path: str) -> Entry | ConfFile:
    """Find what "model/cnn", "experiment/mnist_cnn" or just "cnn" means.

    Raises:
        ExpkitError: there is no such thing, or more than one.
    """
    kind, slash, name = path.strip("/").partition("/")
    if slash and kind in EXPERIMENT_WORDS:
        return _experiment(name)
    if slash:
        return _of_kind(kind_or_experiments(kind), name)
    return _named(kind)


def _experiment(name: str) -> ConfFile:
    known = {experiment.name: experiment for experiment in experiments()}
    if name not in known:
        names = ", ".join(known) or "none"
        raise ConfigError(f"no experiment is called {name!r}.{did_you_mean(name, known)} Known: {names}.")
    return known[name]


def _of_kind(kind: Kind, name: str) -> Entry | ConfFile:
    """Find a component or a preset; of one name, the preset is what `model=NAME` chooses."""
    files = {preset.name: preset for preset in presets(kind)}
    if name in files:
        return files[name]
    own = registry.by_path(kind, name)
    if own is not None:
        return own
    try:
        return registry.find(kind, name)
    except PluginError as error:
        if not files or name in registry.entries(kind):
            raise
        raise PluginError(f"{error} Presets: {', '.join(files)}.{did_you_mean(name, files)}") from None


def _named(name: str) -> Entry | ConfFile:
    """Find by the name alone."""
    names = {kind: [*registry.entries(kind), *(preset.name for preset in presets(kind))] for kind in registry.KINDS}
    kinds = [kind for kind, known in names.items() if name in known]
    is_experiment = name in experiment_names()
    if len(kinds) + is_experiment > 1:
        paths = [f"{kind.name}/{name}" for kind in kinds] + [f"experiment/{name}"] * is_experiment
        raise ConfigError(f"{name!r} has more than one meaning: {', '.join(paths)}. Name one of them.")
    if kinds:
        return _of_kind(kinds[0], name)
    if is_experiment:
        return _experiment(name)
    everything = [known for of_kind in names.values() for known in of_kind] + experiment_names()
    raise PluginError(
        f"nothing is called {name!r}.{did_you_mean(name, everything)} `{COMMAND} list` lists all there is; a run is "
        f"shown by `{COMMAND} show run {name}`."
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
    table.add_column("default", overflow="fold", max_width=20)
    table.add_column("what it is", ratio=1)
    for option in options:
        default = "(required)" if option.default is REQUIRED else as_override(option.default)
        table.add_row(option.name, escape(option.type_text), escape(default), escape(option.doc))
    return table


def _show_file(file: ConfFile, console: Console | None) -> None:
    is_experiment = file.group == EXPERIMENT
    kind = EXPERIMENT if is_experiment else registry.kind_named(file.group).name
    parents = [] if is_experiment else bases(file)
    command = f"{COMMAND} +experiment={file.name}" if is_experiment else preset_command(file)
    chosen, origin, source = choices(file), origin_of(file.owner), str(file.path)
    if console is None:
        facts = {} if is_experiment else {"group": file.group, "summary": file.summary, "preset_of": parents}
        about = {"doc": file.comment, "sets": chosen, "source": source, "origin": origin, "example": command}
        _write_json(kind=kind, name=file.name, **facts, **about)
        return
    console.print(f"[bold]{kind} {escape(file.name)}[/bold]\n")
    if file.comment:
        console.print(escape(file.comment), soft_wrap=True)
    if chosen:
        console.print()
        console.print(_choices_table(chosen))
    origins = {"from": origin, "source": source, "run" if is_experiment else "use": command}
    _print_facts(console, ({"preset of": ", ".join(f"{kind}/{name}" for name in parents)} if parents else {}) | origins)


def _choices_table(chosen: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("it sets", no_wrap=True, style="cyan")
    table.add_column("to", overflow="fold")
    for key, value in chosen.items():
        table.add_row(escape(key), escape(as_override(value)))
    return table


def _print_facts(console: Console, facts: dict[str, str]) -> None:
    width = max(map(len, facts)) + 2
    console.print()
    for name, fact in facts.items():
        console.print(f"[bold]{name:<{width}}[/bold]{escape(fact)}", soft_wrap=True)


def example_command(entry: Entry, description: Description) -> str:
    """Return a command line that chooses a component and sets an option of it."""
    words, prefix = _choice(entry.kind, entry.name)
    required = [option for option in description.options if option.default is REQUIRED]
    words += [f"{prefix}.{option.name}=VALUE" for option in required]
    simple = [option for option in description.options if _is_simple(option.default)]
    if simple and not required:
        words.append(f"{prefix}.{simple[0].name}={as_override(simple[0].default)}")
    return _command(words)


def preset_command(preset: ConfFile) -> str:
    """Return a command line that chooses a preset."""
    return _command(_choice(registry.kind_named(preset.group), preset.name)[0])


def _choice(kind: Kind, name: str) -> tuple[list[str], str]:
    """Return the words that choose something, and what its options begin with."""
    group, known = kind.config_group, experiment_names()
    words = [f"+experiment={'mnist_cnn' if 'mnist_cnn' in known else known[0]}"] if known else []
    words.append(f"{group}=[{name}]" if kind.many else f"{group}={name}")
    return words, f"{group}.{name}" if kind.many else group


def _command(words: list[str]) -> str:
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
    return not isinstance(value, Computed) and value is not REQUIRED and value not in (None, "", [], {})


def _option_json(option: Option) -> dict[str, Any]:
    computed = option.default.source if isinstance(option.default, Computed) else None
    required = option.default is REQUIRED
    return {
        "name": option.name,
        "type": option.type_text,
        "required": required,
        "default": None if required or computed else option.default,
        "computed": computed,
        "doc": option.doc,
    }


def _write_json(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields, indent=2, default=str) + "\n")
