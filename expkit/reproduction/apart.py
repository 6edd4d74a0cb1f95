"""Runs the code of then in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit import provenance
from expkit.errors import ConfigError
from expkit.interrupts import StopRequests
from expkit.reproduction.plan import Plan
from expkit.reproduction.recorded import Recorded, read_recorded
from expkit.reproduction.work_tree import Checkout, checked_out
from expkit.runs import RECORD

CHILD = "expkit.cli.rerun"
POLL_SECONDS = 0.1
_NAMES_A_PATH = re.compile(r"(root|path|file|folder|dir)s?$")


def run_apart(plan: Plan, then: Recorded, here: Path) -> int:
    """Do a run again with the code of then, and wait for it.

    Args:
        plan: of what.
        then: the run.
        here: where the user is.

    Returns:
        0 where it went as the record says a run went, also into a loss that is not finite; else its exit code.

    Raises:
        ConfigError: that code cannot be brought back, or cannot do it.
    """
    with checked_out(then, here) as checkout:
        _refuse_old(then, here, checkout)
        file = checkout.top.parent / "plan.json"
        file.write_text(_absolute(plan, then.options, here, checkout.folder).as_json(), encoding="utf-8")
        code = _wait([sys.executable, "-m", CHILD, str(file)], checkout)
    if code and (plan.folder / RECORD).is_file() and read_recorded(plan.folder).stopped_by_itself:
        return 0
    return code


def _wait(command: Sequence[str], checkout: Checkout) -> int:
    """Run a process to its end; Ctrl-C reaches it by itself, other signals are handed on."""
    process = subprocess.Popen(command, cwd=checkout.folder, env=dict(checkout.environment))
    handed_on = False
    with StopRequests() as stop, stop.shielded():
        while True:
            try:
                return process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if stop.signal not in (None, signal.SIGINT) and not handed_on:
                    handed_on = True
                    process.send_signal(stop.signal)


def _refuse_old(then: Recorded, here: Path, checkout: Checkout) -> None:
    """Refuse the code of an expkit that could not reproduce yet, where expkit itself is in the repository."""
    top, package = provenance.top_folder(provenance.code_folder(here)), Path(__file__).resolve().parents[1]
    if top is None or not package.is_relative_to(top.resolve()):
        return  # an installed expkit runs, as it is
    if not (checkout.top / package.relative_to(top.resolve()) / "cli" / "rerun.py").is_file():
        commit = str(then.git["commit"])[:8]
        raise ConfigError(
            f"--code recorded: the expkit of commit {commit} cannot reproduce runs yet. By hand: `git worktree add "
            f"../then {commit}`, apply git.diff of the run there, and run its command; or leave --code away."
        )


def _absolute(plan: Plan, options: Mapping[str, Any], here: Path, there: Path) -> Plan:
    """Make paths absolute that name something here and would name nothing in the checkout, such as the data's."""
    first, *others = plan.parts
    typed = dict(change.partition("=")[::2] for change in first.changes)
    changes = list(first.changes)
    for key, value in {**dict(_paths(options)), **{k: v for k, v in typed.items() if _NAMES_A_PATH.search(k)}}.items():
        path = Path(value.strip("\"'"))
        if key != "runs_dir" and not path.is_absolute() and (here / path).exists() and not (there / path).exists():
            changes.append(f"{key}={json.dumps(str(here / path))}")
    changes.append(f"runs_dir={json.dumps(str(plan.folder.absolute().parents[1]))}")
    parts = (replace(first, changes=tuple(changes)), *others)
    return Plan(plan.recorded.absolute(), plan.folder.absolute(), parts)


def _paths(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the options of components that name a path by what they are called."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
        elif isinstance(value, str) and value and _NAMES_A_PATH.search(key):
            yield f"{prefix}{key}", value
