"""`python -m expkit plugins check NAME`: whether components keep what they promise, tried in other processes."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit import registry
from expkit.cli.plugin_health import positive
from expkit.doctor.children import Answer, Step, answers_of
from expkit.errors import ConfigError, PluginError
from expkit.plugin_health import PADDLE_SECONDS, entries_of, named, step_of
from expkit.registry import Entry
from expkit.report import make_console

SECONDS = 300.0
_DESCRIPTION = """\
Try what components promise (expkit.testing): shapes, learning, seeds, saved
state, options, errors. Each is tried in another process than this one. The
exit code is 1 when a promise is broken.
"""
_EPILOG = """\
examples:
  python -m expkit plugins check acme              all components of acme
  python -m expkit plugins check model/cnn
  python -m expkit plugins check model/cnn kernel=3
"""


@dataclass(frozen=True)
class Result:
    """What became of the promises of a component.

    Attributes:
        entry: the component.
        answer: of the process that tried them; its value has the outcomes.
    """

    entry: Entry
    answer: Answer

    @property
    def label(self) -> str:
        """Its kind and name: model/cnn."""
        return f"{self.entry.kind.name}/{self.entry.name}"

    @property
    def outcomes(self) -> Sequence[Mapping[str, Any]]:
        """What became of each promise; none where the process did not come that far."""
        return self.answer.value["outcomes"] if self.answer.value else ()

    @property
    def bad(self) -> list[Mapping[str, Any]]:
        """The promises that are broken, or could not be tried."""
        return [one for one in self.outcomes if one["status"] in ("broken", "not tried")]

    @property
    def passed(self) -> bool:
        """Whether all promises are kept, as far as they apply."""
        return not self.answer.error and not self.bad


def main(arguments: list[str]) -> int:
    """Check components.

    Args:
        arguments: behind `plugins check`.

    Returns:
        0; 1 when a promise is broken.
    """
    options = _parser().parse_args(arguments)
    entries = chosen(options.name)
    values = _options(options.option, entries)
    steps = []
    for entry in entries:
        step = step_of("conforms", entry, options.timeout)
        owner = (entry.distribution, entry.version)
        steps.append(Step("conforms", {**step.values, "owner": owner, "options": values}, options.timeout))
    answers = answers_of(steps, [Step("paddle", seconds=PADDLE_SECONDS)], "expkit.testing.probe")
    results = [Result(entry, answer) for entry, answer in zip(entries, answers, strict=True)]
    if options.json:
        sys.stdout.write(json.dumps([_as_json(result) for result in results], indent=2) + "\n")
    else:
        _show(make_console(), results)
    return 0 if all(result.passed for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit plugins check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name", metavar="NAME", help="of a distribution, ./plugins/FILE.py, or KIND/NAME of one component"
    )
    parser.add_argument("option", nargs="*", metavar="KEY=VALUE", help="options of the one component, not its defaults")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=SECONDS,
        metavar="SECONDS",
        help="longest check of one component (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a JSON list, one object a component")
    return parser


def chosen(name: str) -> list[Entry]:
    """Return the components that are meant by the name of a distribution or file, or by KIND/NAME.

    Raises:
        PluginError: there is none.
    """
    kind, slash, component = name.partition("/")
    if slash and not name.startswith("."):  # else a file in the folder of components
        return [registry.find(registry.kind_named(kind), component)]
    plugin = named(name)
    astray, found = registry.astray(plugin), entries_of(plugin)
    if plugin.trouble or astray or not found:
        wrong = [plugin.trouble] if plugin.trouble else [f"{one.text}. {one.remedy}" for one in astray]
        raise PluginError(f"{plugin.name} {plugin.version}: {'. '.join(wrong) or 'it brings no component'}.")
    return found


def _options(words: Sequence[str], entries: Sequence[Entry]) -> dict[str, Any]:
    """Read KEY=VALUE as YAML does.

    Raises:
        ConfigError: it is none, there are several components, or the one does not take it.
    """
    import yaml

    if words and len(entries) > 1:
        raise ConfigError(f"{words[0]}: options are of one component. Name it: plugins check KIND/NAME {words[0]}")
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is no KEY=VALUE. python -m expkit plugins check model/cnn kernel=3")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{word}: the value cannot be read ({error.__class__.__name__}).") from error
    if found:
        _check_options(entries[0], found)
    return found


def _check_options(entry: Entry, options: Mapping[str, Any]) -> None:
    """Refuse options that a config would refuse, too; what cannot be described is told of by its promises.

    Raises:
        ConfigError: there is no such option, or a value has the wrong type.
    """
    from expkit.config_source import complete

    with suppress(PluginError):
        complete(entry, entry.kind.config_group, options)


def _as_json(result: Result) -> dict[str, Any]:
    entry, answer = result.entry, result.answer
    return {
        "kind": entry.kind.name,
        "name": entry.name,
        "distribution": entry.distribution,
        "passed": result.passed,
        "seconds": answer.seconds,
        "error": answer.error,
        "where": answer.where or (answer.value["where"] if answer.value else ""),
        "outcomes": list(result.outcomes),
    }


def _show(console: Console, results: Sequence[Result]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("component", overflow="fold", style="bold")
    table.add_column("result", no_wrap=True)
    table.add_column("promises", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    for result in results:
        told = result.answer.value["counted"] if result.answer.value else "none could be tried"
        style = "[green]passed[/green]" if result.passed else "[red]FAILED[/red]"
        table.add_row(escape(result.label), style, escape(told), f"{result.answer.seconds:.1f}")
    console.print(table)
    for result in results:
        for line in _failures(result):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    failed = sum(not result.passed for result in results)
    console.print(f"\n{len(results) - failed} passed, {failed} failed", markup=False, highlight=False)


def _failures(result: Result) -> list[str]:
    if result.passed:
        return []
    where = result.answer.where or (result.answer.value["where"] if result.answer.value else "")
    lines = [f"\n{result.label} of {result.entry.distribution} {result.entry.version}, {where or result.entry.target}"]
    if result.answer.error:
        lines.append(f"  {result.answer.error}")
        lines += [f"    {line}" for line in result.answer.trace.splitlines()]
    blocks = result.answer.value["blocks"] if result.answer.value else ()
    return lines + [textwrap.indent(block, "  ") for block in blocks]
