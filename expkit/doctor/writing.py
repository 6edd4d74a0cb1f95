"""An examination as text: for people, for programs, and to be pasted into an issue."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from expkit.doctor.examination import Examination
from expkit.findings import Finding
from expkit.masking import masked, masked_values

FORMAT = 1
"""Of the JSON object; it changes when a program that reads it would have to."""


def counts(examination: Examination) -> str:
    """Return how many findings have which level: "31 ok, 2 warnings, 1 failure"."""
    warnings, failures = examination.count("warning"), examination.count("FAIL")
    told = [f"{examination.count('ok')} ok"]
    told += [f"{warnings} warning{'s' * (warnings != 1)}", f"{failures} failure{'s' * (failures != 1)}"]
    return ", ".join(told)


def column_of(examination: Examination) -> int:
    """Return how wide the column of what was looked at has to be, with a blank."""
    return min(24, max([12, *(len(finding.what) + 1 for finding in examination.findings)]))


def as_json(examination: Examination) -> str:
    """Return one object, without secrets: docs/doctor.md says what is in it."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "expkit": _version(),
        "failed": examination.failed,
        "counts": {level: examination.count(level) for level in ("ok", "warning", "FAIL")},
        "seconds": round(examination.seconds, 2),
        "sections": [
            {"title": section.title, "findings": [asdict(finding) for finding in section.findings]}
            for section in examination.sections
        ],
    }
    return json.dumps(masked_values(found), indent=2, ensure_ascii=False) + "\n"


def as_markdown(examination: Examination) -> str:
    """Return what can be pasted into an issue: troubles first, without secrets, and with ~ for the user's home."""
    troubles = [finding for finding in examination.findings if finding.level != "ok"]
    lines = [f"**expkit doctor**: {counts(examination)}", ""]
    lines += [line for finding in troubles for line in _bullet(finding)] + [""] * bool(troubles)
    column = column_of(examination)
    lines += ["<details><summary>all that was looked at</summary>", "", "```text"]
    for section in examination.sections:
        lines.append(section.title)
        lines += [f"  {one.level:<8}{one.what:<{column}}{one.text}".replace("```", "'''") for one in section.findings]
    lines += ["```", "", "</details>", ""]
    return without_home(masked("\n".join(lines)))


def without_home(text: str) -> str:
    """Return a text in which ~ stands for the user's home."""
    for home in _homes():
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    return text


def _homes() -> Iterator[str]:
    try:
        home = str(Path.home())
    except RuntimeError:  # a user without one
        return
    for one in dict.fromkeys((home, os.path.realpath(home))):
        if len(one) > 1:  # not "/"
            yield one


def _bullet(finding: Finding) -> Iterator[str]:
    yield f"- **{finding.level}** {finding.what}: `{finding.text.replace('`', chr(39))}`"
    if finding.advice:
        yield f"  -> `{finding.advice.replace('`', chr(39))}`"


def _version() -> str:
    try:
        return version("expkit")
    except PackageNotFoundError:
        return ""
