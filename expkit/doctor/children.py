"""Child processes that import what may be slow or broken, and tell how that went; none can take the doctor down."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from expkit import registry
from expkit.processes import kill_group, killed_by

SECONDS = 60.0
"""Longest wait for a child: importing Paddle from a slow network disk takes half a minute."""
PADDLE, DATA = "paddle", "data"
_LATE = "late"
_SIGNS = ("Timeout (", "Fatal Python error: ")
"""With which Python begins the stack that it writes when a step takes too long, or a signal kills it."""
_BROUGHT = ('"<frozen ', f"{os.sep}importlib{os.sep}__init__.py", "Extension modules: ", str(Path(__file__).parents[1]))
_FRAME = re.compile(r'^  File "(.+)", line (\d+)', re.M)
CHARACTERS = "中文ひ한"
"""What the names of classes may be written in: Chinese, Japanese, Korean."""


@dataclass(frozen=True)
class Step:
    """One thing that a child does.

    Attributes:
        name: of a function of `probe`.
        values: its arguments, which JSON can hold.
        seconds: the process ends itself where the step takes longer, and says where it was; 0 waits as for the others.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """How a step went.

    Attributes:
        value: what it returned.
        error: what it raised, "ImportError: no numpy", or how its process ended; empty where it went well.
        seconds: that it took.
        started: whether it was begun at all.
        where: "file:line" at which it failed, where that is known; of the component's own code if possible.
        trace: how it came there, in lines.
    """

    value: Any = None
    error: str = ""
    seconds: float = 0.0
    started: bool = True
    where: str = ""
    trace: str = ""


class Child:
    """A process that does steps one after the other, and says before each which one it is at.

    Args:
        steps: to do.
        seconds: it is ended after.
        program: module that is run; it knows the steps.
    """

    def __init__(self, steps: Sequence[Step], seconds: float = SECONDS, program: str = "expkit.doctor.probe") -> None:
        self._steps, self._seconds = list(steps), seconds
        self._popen = subprocess.Popen(
            [sys.executable, "-m", program],
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

    def all(self) -> list[Answer]:
        """Wait until the child is done, and return how each step went."""
        return self._all

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
        ending = Answer(error=f"took longer than {self._seconds:.0f} s") if late else self._ending(err)
        return [self._of(number, told, ending) for number in range(len(self._steps))]

    def _of(self, number: int, told: Mapping[int, Answer], ending: Answer) -> Answer:
        if number in told:
            return told[number]
        if all(earlier in told for earlier in range(number)):
            return self._late(ending, self._steps[number])  # what it was at when it ended
        return Answer(error="was not looked at, since the process had ended before", started=False)

    def _late(self, ending: Answer, step: Step) -> Answer:
        where = nearest(_FRAME.findall(ending.trace), str(step.values.get("module", "")))
        error = f"took longer than {step.seconds:.0f} s" if ending.error == _LATE else ending.error
        return replace(ending, error=error, where=where)

    def _ending(self, written: bytes) -> Answer:
        """Say how the process ended, with the stack that Python writes as it is killed."""
        err, sign, stack = written.decode("utf-8", "replace"), "", ""
        for sign in _SIGNS:
            before, found, stack = err.partition(sign)
            if found:
                err, stack = before, f"{found}{stack}".strip()
                break
        if stack and sign == _SIGNS[0]:
            return Answer(error=_LATE, trace=own_lines(stack))
        lines = [line.strip() for line in err.splitlines() if line.strip()]
        code = self._popen.returncode
        last = f": {lines[-1]}" if lines else ""
        how = f"was {killed_by(-code)}" if code < 0 else f"ended with exit code {code}"
        return Answer(error=f"the process {how}{last}", trace=own_lines(stack))


def own_lines(stack: str) -> str:
    """Leave out of a stack what only brought the process to the code that it was to look at."""
    kept = [line for line in stack.splitlines() if line and not any(word in line for word in _BROUGHT)]
    return "\n".join(kept)


def nearest(frames: Sequence[tuple[str, str]], module: str) -> str:
    """Return "file:line" of the first frame in the code of a module's package, else of the first one that is a file.

    Args:
        frames: file and line, the innermost first.
        module: whose package it is.
    """
    top = module.partition(".")[0]
    own = [one for one in frames if top and (top in Path(one[0]).parts or Path(one[0]).stem == top)]
    found = own or [one for one in frames if not one[0].startswith("<")]
    return f"{found[0][0]}:{found[0][1]}" if found else ""


def answers_of(steps: Sequence[Step], first: Sequence[Step], program: str) -> list[Answer]:
    """Do steps in child processes; where one ends its process, another process goes on with the next step.

    Args:
        steps: each with a time that it may take.
        first: done at the start of each process; how they went is not told.
        program: module that is run.
    """
    done: list[Answer] = []
    while len(done) < len(steps):
        rest = [*first, *steps[len(done) :]]
        child = Child(rest, 30 + sum(step.seconds for step in rest), program)
        try:
            told = child.all()
        finally:
            child.close()
        if not all(answer.started for answer in told[: len(first) + 1]):  # it did not even come to the first of them
            broken = next(answer for answer in told if answer.error)
            done.append(broken)
        else:
            done += [answer for answer in told[len(first) :] if answer.started]
        while len(done) < len(steps) and _imports_alike(steps[len(done) - 1], steps[len(done)]):
            done.append(done[-1])  # the module ends its process whatever is wanted of it
    return done


def _imports_alike(one: Step, other: Step) -> bool:
    return one.name == other.name == "component" and one.values["module"] == other.values["module"]


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
