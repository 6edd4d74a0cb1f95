"""Writes generated pages in reStructuredText, and only those that have changed."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_MARKS = re.compile(r"([\\*|]|(?<=\w)_(?=\W|$))")

_NOTE = re.compile(r"(?<=\S) {3,}(?=\w)")


def plain(text: str) -> str:
    """Return text of a docstring or a comment as reStructuredText: code in backticks, and all else as it stands."""
    parts = _CODE.split(text)
    return "".join(f"``{part.strip('`')}``" if i % 2 else _MARKS.sub(r"\\\1", part) for i, part in enumerate(parts))


def code(text: object) -> str:
    """Return text as code within a line; nothing for nothing."""
    words = str(text)
    return f"``{words}``" if words.strip() else words.strip()


def title(text: str, level: int = 1) -> str:
    """Return a heading of level 1 to 3."""
    return f"{text}\n{'=-~'[level - 1] * (2 * len(text))}\n\n"


def indent(text: str, by: int = 3) -> str:
    """Indent the lines that are not empty."""
    return "".join(" " * by + line if line.strip() else line for line in text.splitlines(keepends=True))


def block(text: str, language: str = "bash") -> str:
    """Return a block of code."""
    return f".. code-block:: {language}\n\n{indent(text.rstrip() + chr(10))}\n"


def described(text: str) -> str:
    """Return prose with indented commands, as in the head of a config file or the help of a verb."""
    pieces = []
    for indented, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("  ")):
        part = "\n".join(lines)
        if not indented:
            pieces.append(f"{plain(part)}\n\n")
        elif "python -m expkit" in part:
            pieces.append(block(_NOTE.sub("  # ", textwrap.dedent(part))))
        else:
            pieces.append(block(textwrap.dedent(part), "text"))
    return "".join(pieces)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], name: str = "options") -> str:
    """Return a table; its cells are reStructuredText.

    Args:
        headers: of the columns.
        rows: of cells.
        widths: of the columns, in shares.
        name: CSS class.
    """
    lines = [f".. list-table::\n   :header-rows: 1\n   :class: {name}\n   :widths: {' '.join(map(str, widths))}\n\n"]
    for row in (headers, *rows):
        for number, cell in enumerate(row):
            lines.append(f"   {'* -' if number == 0 else '  -'} {indent(cell, 7).strip()}\n")
    return "".join(lines) + "\n"


def toctree(pages: Iterable[str], *, hidden: bool = True, caption: str = "") -> str:
    """Return the directive that gives pages their place in the site."""
    options = [":hidden:"] * hidden + [f":caption: {caption}"] * bool(caption)
    return ".. toctree::\n" + "".join(f"   {line}\n" for line in [*options, "", *pages]) + "\n"


class Pages:
    """A folder of generated files: unchanged ones are left alone, those of an earlier build are removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: set[Path] = set()

    def keep(self, path: Path) -> Path:
        """Say that a file belongs to this build, and return it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written.add(path)
        return path

    def write(self, name: str, text: str) -> None:
        """Write a page, such as "models/cnn.rst"."""
        path = self.keep(self.folder / name)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """Remove what no longer belongs there."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self._written:
                path.unlink()
