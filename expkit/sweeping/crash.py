"""Whose code a job was in when native code ended its process: from the stack that Python writes to its output then."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from expkit import own_code, registry
from expkit.config import from_yaml
from expkit.sweeping.jobs import OUTPUT, Job

_STACK = re.compile(r"^(?:Current thread .*|Stack )\(most recent call first\):\n((?:  .*\n)+)", re.M)
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.M)
_TAIL = 100_000
"""Bytes of the output in which the stack is looked for; a list of all modules, and Paddle's own words, follow it."""


def crash_site(job: Job) -> str:
    """Return the innermost code of a chosen component: "model/crash, plugins/models.py:24"; empty where none is known.

    Args:
        job: whose process was killed by a signal of the kind of SIGSEGV.
    """
    with contextlib.suppress(OSError, ValueError), (job.folder / OUTPUT).open("rb") as file:
        file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
        _, fatal, text = file.read().decode(errors="replace").rpartition("Fatal Python error: ")
        stack = _STACK.search(text) if fatal else None
        chosen = list(_chosen(job))
        for path, line in _FRAME.findall(stack[1]) if stack else ():
            for name, module in chosen:
                if _is_of(Path(path), module.split(".")):
                    return f"{name}, {_short(Path(path))}:{line}"
    return ""


def _chosen(job: Job) -> Iterator[tuple[str, str]]:
    """Yield name and module of each component of a job, such as "model/cnn"."""
    config = from_yaml(job.config)
    for kind in registry.KINDS:
        node = config.get(kind.config_group) or {}
        for name, one in (node if kind.many else {job.choices.get(kind.config_group, "?"): node}).items():
            if isinstance(one, dict) and "_target_" in one:
                yield f"{kind.name}/{name}", str(one["_target_"]).rpartition(".")[0]


def _is_of(path: Path, module: list[str]) -> bool:
    """Say whether a file is a module's, or of the same package; the folder of the user's own components is none."""
    own = path.with_suffix("").parts[-len(module) :] == tuple(module)
    return own or (len(module) > 1 and module[0] != own_code.PLUGINS and module[0] in path.parent.parts)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
