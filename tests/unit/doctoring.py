"""A scene for the doctor's checks: made of files, with children that need no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.doctor.children import Answer, Step
from expkit.doctor.examination import Scene

PADDLE = {"version": "3.3.1", "file": "/x/paddle/__init__.py", "cuda": "", "gpus": 0}


class FakeChild:
    """Has its answers from the start."""

    def __init__(self, *answers: tuple[Step, Answer]) -> None:
        self._answers = answers

    def answers(self, name: str) -> list[tuple[Step, Answer]]:
        return [(step, answer) for step, answer in self._answers if step.name == name]

    def answer(self, name: str) -> Answer:
        ((_, answer),) = self.answers(name)
        return answer

    def close(self) -> None:
        pass


def paddle_child(error: str = "", **value: Any) -> FakeChild:
    return FakeChild((Step("paddle"), Answer(value={**PADDLE, **value}, error=error, seconds=1.0)))


def data_child(**sets: Answer) -> FakeChild:
    return FakeChild(*((Step("data_set", {"name": name}), answer) for name, answer in sets.items()))


def scene(folder: Path, **parts: Any) -> Scene:
    """Return a scene below a folder, with no variables, and a kernel that tells nothing but what is written there."""
    (folder / "proc/self").mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "runs_dir": folder / "runs",
        "environment": {"PATH": str(folder)},
        "proc": folder / "proc",
        "cgroups": folder / "groups",
        "children": {"paddle": paddle_child()},
    }
    return Scene(**{**given, **parts})


def told(findings: Sequence[Any]) -> dict[str, tuple[str, str, str]]:
    """Return level, text and advice by what was looked at."""
    assert all(bool(one.advice) == (one.level != "ok") for one in findings), "trouble has its remedy, and only trouble"
    return {one.what: (one.level, one.text, one.advice) for one in findings}


def distribution(
    folder: Path, name: str, version: str, lines: Mapping[str, str] | Sequence[tuple[str, str]] = ()
) -> None:
    """Make a distribution that is found in a folder of the path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    pairs = list(lines.items()) if isinstance(lines, Mapping) else list(lines)
    text = "".join(f"{key}: {value}\n" for key, value in [("Metadata-Version", "2.1"), ("Name", name), *pairs])
    (info / "METADATA").write_text(f"{text}Version: {version}\n")
