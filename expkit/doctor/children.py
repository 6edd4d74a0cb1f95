"""Child processes that import what may be slow or broken, and tell how that went; none can take the doctor down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from expkit import registry
from expkit.processes import kill_group, killed_by

SECONDS = 60.0
"""Longest wait for a child: importing Paddle from a slow network disk takes half a minute."""
PADDLE, DATA = "paddle", "data"
CHARACTERS = "中文ひ한"
"""What the names of classes may be written in: Chinese, Japanese, Korean."""


@dataclass(frozen=True)
class Step:
    """One thing that a child does.

    Attributes:
        name: of a function of `probe`.
        values: its arguments, which JSON can hold.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """How a step went.

    Attributes:
        value: what it returned.
        error: what it raised, "ImportError: no numpy", or how its process ended; empty where it went well.
        seconds: that it took.
        started: whether it was begun at all.
    """

    value: Any = None
    error: str = ""
    seconds: float = 0.0
    started: bool = True


class Child:
    """A process that does steps one after the other, and says before each which one it is at.

    Args:
        steps: to do.
        seconds: it is ended after.
    """

    def __init__(self, steps: Sequence[Step], seconds: float = SECONDS) -> None:
        self._steps, self._seconds = list(steps), seconds
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "expkit.doctor.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )
        order = {"path": sys.path, "parent": os.getpid(), "steps": [vars(step) for step in steps]}
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # it has died already, which its answers will say
            self._popen.stdin.write(json.dumps(order).encode() + b"\n")
            self._popen.stdin.flush()

    def answers(self, name: str) -> list[tuple[Step, Answer]]:
        """Wait until the child is done, and return how all steps of a name went."""
        return [(step, answer) for step, answer in zip(self._steps, self._all, strict=True) if step.name == name]

    def answer(self, name: str) -> Answer:
        """Wait as `answers` does, and return how the only step of a name went."""
        ((_, answer),) = self.answers(name)
        return answer

    def close(self) -> None:
        """End the process, if it is still there."""
        if self._popen.poll() is None:
            kill_group(self._popen.pid)
            with contextlib.suppress(ValueError, OSError):
                self._popen.communicate()

    @cached_property
    def _all(self) -> list[Answer]:
        late = False
        try:
            out, err = self._popen.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            late = True
            kill_group(self._popen.pid)
            out, err = self._popen.communicate()
        told: dict[int, Answer] = {}
        for line in out.decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # half a line, of a process that was killed
                said = json.loads(line)
                number = said.pop("step")
                told[number] = Answer(**said)
        ending = f"took longer than {self._seconds:.0f} s" if late else self._ending(err.decode("utf-8", "replace"))
        return [self._of(number, told, ending) for number in range(len(self._steps))]

    def _of(self, number: int, told: Mapping[int, Answer], ending: str) -> Answer:
        if number in told:
            return told[number]
        if all(earlier in told for earlier in range(number)):
            return Answer(error=ending)  # what it was at when it ended
        return Answer(error="was not looked at, since the process had ended before", started=False)

    def _ending(self, err: str) -> str:
        lines = [line.strip() for line in err.splitlines() if line.strip()]
        code = self._popen.returncode
        last = f": {lines[-1]}" if lines else ""
        return (
            f"the process was {killed_by(-code)}{last}"
            if code < 0
            else f"the process ended with exit code {code}{last}"
        )


def start_children() -> dict[str, Child]:
    """Start both: one for Paddle and what needs it, one for data sets and fonts."""
    entries = [
        {"kind": kind.name, "name": entry.name, "module": entry.module, "attribute": entry.attribute}
        for kind in registry.KINDS
        for found in registry.entries(kind).values()
        for entry in found
    ]
    sets = [one for one in entries if one["kind"] == "dataset"]
    return {
        PADDLE: Child([Step("paddle"), *(Step("component", one) for one in entries)]),
        DATA: Child([*(Step("data_set", one) for one in sets), Step("fonts", {"characters": CHARACTERS})]),
    }
