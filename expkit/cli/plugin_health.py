"""`python -m expkit plugins [NAME]`: the distributions that bring components, and how they are; `plugins check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit.api_version import VERSION
from expkit.cli.finding_view import show
from expkit.findings import Finding, Level, Section
from expkit.plugin_health import SECONDS, Health, Part, Report, examine_plugins
from expkit.registry import Kind
from expkit.report import make_console
from expkit.signature import summarize

_STYLES = {"ok": "green", "slow": "yellow", "not loaded": "dim"}
_LEVELS: dict[str, Level] = {"slow": "warning"}
_DESCRIPTION = """\
Look at every distribution that brings components: each is imported in a
process of its own, so that one that crashes or hangs is a line here, and no
more. The exit code is 1 when one is not ok (slow counts as ok).
"""
_EPILOG = """\
examples:
  python -m expkit plugins
  python -m expkit plugins acme            all about one of them
  python -m expkit plugins check acme      try what its components promise
  python -m expkit plugins check -h        tells more of that
"""


def main(arguments: list[str]) -> int:
    """Look at plugins, or check some.

    Args:
        arguments: behind the verb.

    Returns:
        0; 1 when a distribution is not ok, or a promise is broken.
    """
    if arguments[:1] == ["check"]:
        from expkit.cli import plugin_check

        return plugin_check.main(arguments[1:])
    options = _parser().parse_args(arguments)
    reports = examine_plugins(options.name, load=not options.no_load, seconds=options.timeout)
    if options.json:
        told = {"format": 1, "api": VERSION, "distributions": [as_json(report) for report in reports]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    elif options.name:
        for report in reports:
            _show_one(make_console(), report)
    else:
        _show_all(make_console(), reports)
    return 0 if all(report.status in _STYLES for report in reports) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit plugins",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="of a distribution, or ./plugins/FILE.py: all about it")
    parser.add_argument("--no-load", action="store_true", help="import nothing: only what metadata and source show")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=SECONDS,
        metavar="SECONDS",
        help="longest import of one component (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object")
    return parser


def positive(text: str) -> float:
    """Read a number above 0, for argparse."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as plain values."""
    plugin = report.plugin
    return {
        "name": plugin.name,
        "version": plugin.version,
        "status": report.status,
        "api": plugin.api,
        "seconds": report.seconds,
        "location": report.location,
        "error": report.health.error,
        "advice": report.health.advice,
        "components": [
            {
                "kind": part.entry.kind.name,
                "name": part.entry.name,
                "target": part.entry.target,
                "seconds": part.seconds,
                **asdict(part.health),
            }
            for part in report.parts
        ],
    }


def _show_all(console: Console, reports: Sequence[Report]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("distribution", overflow="fold", style="bold")
    table.add_column("status", no_wrap=True)
    table.add_column("loads in", justify="right", no_wrap=True)
    table.add_column("for API", no_wrap=True)
    table.add_column("components", ratio=1)
    for report in reports:
        owner = f"{report.plugin.name} {report.plugin.version}"
        api = _api(report)
        row = (escape(owner), _styled(report.status), _seconds(report.seconds), escape(api), escape(_brings(report)))
        table.add_row(*row)
    console.print(table)
    for report in reports:
        _show_trouble(console, report)
    console.print("\nMore about one of them: python -m expkit plugins NAME", markup=False)


def _brings(report: Report) -> str:
    """Say what a distribution brings: names where these are few."""
    kinds: dict[Kind, list[str]] = defaultdict(list)
    for part in report.parts:
        kinds[part.entry.kind].append(part.entry.name)
    many = len(report.parts) > 12
    told = [
        (f"{len(names)} {kind.plural if len(names) > 1 else kind.name}" if many else f"{kind.name} {', '.join(names)}")
        for kind, names in kinds.items()
    ]
    if told:
        return (", " if many else "; ").join(told)
    return "configs only" if any(point.group == "expkit.conf" for point in report.plugin.points) else "nothing"


def _api(report: Report) -> str:
    """Say which version of the plugin API it was written for."""
    if report.plugin.own:
        return "-"
    return VERSION if report.plugin.name == "expkit" else ", ".join(report.plugin.api) or "not said"


def _show_trouble(console: Console, report: Report) -> None:
    """Say what is wrong; once, where it is the same of several components."""
    together: dict[Health, list[str]] = defaultdict(list)
    if report.health.error:
        together[report.health].append(report.plugin.name)
    for part in report.parts:
        if part.health.error:
            together[part.health].append(part.label)
    findings = [
        Finding(
            _LEVELS.get(health.status, "FAIL"), health.status, f"{', '.join(names)}: {_told(health)}", health.advice
        )
        for health, names in together.items()
    ]
    if findings:
        show(console, Section(f"{report.plugin.name} {report.plugin.version}", "", findings))


def _told(health: Health) -> str:
    return f"{health.error} ({health.where})" if health.where else health.error


def _show_one(console: Console, report: Report) -> None:
    plugin = report.plugin
    console.print(
        f"[bold]{escape(plugin.name)} {escape(plugin.version)}[/bold]  {escape(plugin.summary)}\n", soft_wrap=True
    )
    facts = {
        "status": report.status,
        "loads in": _seconds(report.seconds),
        **({} if plugin.own else _of_distribution(report)),
        "place": report.location or "none",
    }
    for name, fact in facts.items():
        console.print(f"[bold]{name:<10}[/bold]{escape(fact)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("component", "status", "loads in"):
        table.add_column(title, no_wrap=True, justify="right" if title == "loads in" else "left")
    table.add_column("what it is", ratio=1)
    for part in report.parts:
        table.add_row(escape(part.label), _styled(part.health.status), _seconds(part.seconds), escape(_summary(part)))
    console.print()
    console.print(table)
    _show_trouble(console, report)
    traces: dict[str, list[str]] = defaultdict(list)
    for part in report.parts:
        traces[part.health.trace].append(part.label)
    for trace, labels in traces.items():
        if trace:
            text = f"\n{', '.join(labels)}:\n{trace}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"\nNext:\n  python -m expkit plugins check {plugin.name}", markup=False, soft_wrap=True)


def _of_distribution(report: Report) -> dict[str, str]:
    plugin = report.plugin
    return {
        "for API": f"{_api(report)} (this expkit has {VERSION})" if plugin.name != "expkit" else VERSION,
        "needs": ", ".join(one for one in plugin.requires if "extra ==" not in one) or "nothing",
        "configs": ", ".join(point.value for point in plugin.points if point.group == "expkit.conf") or "none",
    }


def _summary(part: Part) -> str:
    if part.health.status == "broken" and not part.health.trace:
        return ""
    return summarize(part.entry)


def _styled(status: str) -> str:
    style = _STYLES.get(status, "red")
    return f"[{style}]{status}[/{style}]"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
