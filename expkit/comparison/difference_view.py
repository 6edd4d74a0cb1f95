"""What a user reads of the difference between two runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expkit.comparison.details import Details
from expkit.comparison.difference import Pair, RunDifference, is_better
from expkit.comparison.table import MISSING
from expkit.progress import show_value
from expkit.reproduction.trees import CodeDifference, FileChange
from expkit.sweeping.names import short_value, status_word

MOST_FILES = 12


def show(console: Console, found: RunDifference, *, patch: bool = False) -> None:
    """Print what differs, and in one line what is the same.

    Args:
        console: where to.
        found: the difference.
        patch: whether the changes of the code are printed, too.
    """
    for letter, details in (("A", found.first), ("B", found.second)):
        console.print(f"[bold]{letter}[/bold]  {escape(_told(details))}", soft_wrap=True)
    if found.first.run.id == found.second.run.id:
        console.print("A and B are the same run.")
    console.print()
    table = _table(found)
    if table.row_count:
        console.print(table)
    if found.code is not None:
        _show_code(console, found.code, patch=patch)
    whole = not console.is_terminal  # a terminal breaks lines between words
    if found.training is not None and found.training.text:
        console.print(f"[bold]training[/bold]  {escape(found.training.text)}", soft_wrap=whole)
    if found.others:
        names = ", ".join(found.others)
        told = f"also otherwise, which changes nothing of what is learned: {names}"
        console.print(told, soft_wrap=whole, markup=False, style="dim")
    console.print(f"[bold]the same[/bold]  {escape('; '.join(_the_same(found)) or 'nothing')}", soft_wrap=whole)


def as_json(found: RunDifference) -> str:
    """Return the difference as a JSON object; pairs are [A, B]."""
    code, training = found.code, found.training
    return (
        json.dumps(
            {
                "a": found.first.run.id,
                "b": found.second.run.id,
                "options": _lists(found.options),
                "options_that_change_nothing": _lists(found.others),
                "code": None
                if code is None
                else {
                    "a": code.first,
                    "b": code.second,
                    "files": [{"name": f.name, "added": f.added, "removed": f.removed} for f in code.files],
                    "patch": code.patch,
                    "not_compared": code.why_not,
                },
                "data": _lists(found.data),
                "versions": _lists(found.versions),
                "machine": _lists(found.machine),
                "results": _lists(found.results),
                "end": _lists(found.ends),
                "training": None if training is None else {"identical": training.identical, "parts": training.text},
                "same": _the_same(found),
            },
            indent=1,
            ensure_ascii=False,
            default=str,
        )
        + "\n"
    )


def _told(details: Details) -> str:
    run = details.run
    name = f"  {run.name}" if run.name and run.name != run.id else ""
    result = ""
    if run.main_metric in run.metrics and run.monitor is not None:
        result = f"  {run.monitor.name} {show_value(run.metrics[run.main_metric])}"
    return f"{run.id}  {run.experiment}{name}  {status_word(run.status)}{result}"


def _table(found: RunDifference) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("what", overflow="fold")
    for side in ("A", "B"):
        table.add_column(side, overflow="fold")
    table.add_column("difference", justify="right")
    sections: tuple[tuple[str, Mapping[str, Pair]], ...] = (
        ("options", found.options),
        ("data", found.data),
        ("versions", found.versions),
        ("machine", found.machine),
        ("results", found.results),
        ("end", found.ends),
    )
    for title, pairs in sections:
        for number, (key, pair) in enumerate(pairs.items()):
            if not number:
                table.add_row(f"[bold cyan]{title}[/]")
            table.add_row(f"  {escape(key)}", *(escape(_value(one)) for one in pair), _change(found, title, key, pair))
    return table


def _change(found: RunDifference, title: str, key: str, pair: Pair) -> str:
    if title != "results" or None in pair:
        return ""
    text = f"{pair[1] - pair[0]:+.4g}"
    better = is_better(found, key) if key in found.results else None
    return text if better is None else f"{'[green]' if better else '[red]'}{text} {'better' if better else 'worse'}[/]"


def _show_code(console: Console, code: CodeDifference, *, patch: bool) -> None:
    console.print(f"[bold]code[/bold]  {escape(code.first)} -> {escape(code.second)}", soft_wrap=True)
    if code.why_not:
        console.print(f"  not compared: {code.why_not}", soft_wrap=True, markup=False)
    for change in code.files[:MOST_FILES]:
        console.print(f"  {_lines(change):>11}  {change.name}", soft_wrap=True, markup=False)
    if len(code.files) > MOST_FILES:
        console.print(f"  and {len(code.files) - MOST_FILES} more files", markup=False)
    if patch and code.patch:
        console.print(code.patch, soft_wrap=True, markup=False)
    elif code.patch:
        console.print("  --patch shows the lines", style="dim", markup=False)


def _lines(change: FileChange) -> str:
    return "changed" if change.added is None else f"+{change.added} -{change.removed}"


def _the_same(found: RunDifference) -> list[str]:
    """Say what is the same, each in few words."""
    first = found.first
    told = [f"{found.same_options} choices and options"]
    data: Mapping[str, Any] = first.record.get("data", {})
    fingerprint = str(data.get("fingerprint") or first.run.tags.get("data.fingerprint", ""))
    if fingerprint and "fingerprint" not in found.data:
        told.append(f"data ({data.get('name') or first.run.tags.get('data.name')}, fingerprint {fingerprint[:12]})")
    git: Mapping[str, Any] = first.environment.get("git") or {}
    if found.code is None and git.get("commit"):
        told.append(f"code (commit {git['commit'][:8]}{' with its changes' * bool(git.get('dirty'))})")
    known = {"versions": first.environment.get("versions"), "machine": first.environment.get("device")}
    told += [name for name, value in known.items() if value and not getattr(found, name)]
    if found.training is not None and found.training.identical:
        told.append("every step and epoch, bit by bit")
    if found.same_results:
        told.append("results" if not found.results else ", ".join(found.same_results))
    return told


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    return show_value(value) if isinstance(value, float) else short_value(str(value))


def _lists(pairs: Mapping[str, Pair]) -> dict[str, list[Any]]:
    return {key: list(pair) for key, pair in pairs.items()}
