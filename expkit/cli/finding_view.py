"""Prints findings: a level, what was looked at, what was found, and what to do about it."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from expkit.findings import Finding, Section

COLUMN = 12
"""Of what was looked at, with a blank behind it."""
_LEVEL = 10
_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "FAIL": "bold red"}


def show(console: Console, section: Section, column: int = COLUMN) -> None:
    """Print the findings of a section.

    Args:
        console: where to.
        section: of a check.
        column: width of what was looked at.
    """
    console.print(Text(f"\n{section.title}", style="bold"))
    for line in section.text.splitlines():
        console.print(Text(f"  {line}"), soft_wrap=True)
    if section.text and section.findings:
        console.print()
    for finding in section.findings:
        _show_finding(console, finding, column)


def counted(count: int, what: str) -> str:
    """Return a number with its word: "1 warning", "2 warnings"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _show_finding(console: Console, finding: Finding, column: int) -> None:
    indent = _LEVEL + column
    lines = _wrapped(console, finding.text, indent)
    line = Text("  ")
    line.append(f"{finding.level:<8}", style=_STYLES[finding.level])
    line.append(f"{finding.what:<{column - 1}} {lines[0]}")
    console.print(line, soft_wrap=True)
    advice = [
        f"{'-> ' if number == 0 else '   '}{text}"
        for number, text in enumerate(_wrapped(console, finding.advice, indent))
    ]
    for more in (*lines[1:], *advice):
        console.print(Text(f"{'':{indent}}{more}"), soft_wrap=True)


def _wrapped(console: Console, text: str, indent: int) -> list[str]:
    """Break a text for a terminal, but no path or option; where the output is none, lines are never broken."""
    if not console.is_terminal:
        return text.splitlines()
    width = max(30, console.width - indent - 3)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
