"""Reads Google style docstrings: the summary, and what is said of each argument."""

from __future__ import annotations

import re

_SECTION = re.compile(r"(Args|Arguments|Attributes|Keyword Args|Keyword Arguments):\s*$")
_ENTRY = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*:(?:\s+(.*)|$)")


def summary_line(doc: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(doc.strip().partition("\n\n")[0].split())


def option_docs(doc: str) -> dict[str, str]:
    """Return what a docstring (without its common indentation) says of each argument, each on one line."""
    docs: dict[str, str] = {}
    inside, indent = False, 0
    current: tuple[str, ...] = ()
    for line in doc.splitlines():
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        if not text:
            continue
        if depth == 0:
            inside, indent, current = bool(_SECTION.match(text)), 0, ()
            continue
        if not inside:
            continue
        indent = indent or depth
        entry = _ENTRY.match(text) if depth == indent else None
        if entry:
            current = tuple(name.strip(" *") for name in entry[1].split(","))
            text = entry[2] or ""
        for name in current:
            docs[name] = f"{docs.get(name, '') if not entry else ''} {text}".strip()
    return docs
