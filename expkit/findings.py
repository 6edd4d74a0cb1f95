"""What a check says: findings with a level, in sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "note", "warning", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok", "note" (worth knowing, nothing wrong), "warning" (may be meant so) or "FAIL" (cannot work).
        what: in a word or two.
        text: what was found, with its figures.
        advice: what to do about it; empty where there is nothing to do.
    """

    level: Level
    what: str
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Section:
    """The findings about one subject.

    Attributes:
        title: of the section.
        text: a table or facts, above the findings; lines of any length.
        findings: in order.
    """

    title: str
    text: str = ""
    findings: Sequence[Finding] = field(default_factory=tuple)
