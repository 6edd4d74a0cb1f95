"""Brings in the pages that lie outside `docs`, and leads links that go there to where it is said on the site."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

from generate.writing import Pages

ROOT = Path(__file__).parents[2]
COPIED = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/RESULTS.md": "project/benchmarks.md",
    "docs/design": "project/decisions.md",
}
LEADS = COPIED | {
    "README.md": "index.md",
    "expkit/api.py": "reference/api.rst",
    "expkit/testing": "reference/testing.rst",
    "expkit/testing/__init__.py": "reference/testing.rst",
    "plugins": "reference/components/index.rst",
}
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.M | re.S)


def write(pages: Pages) -> None:
    """Write the copies, and the list of design decisions."""
    for origin, page in COPIED.items():
        if origin.endswith(".md"):
            text = (ROOT / origin).read_text(encoding="utf-8")
            pages.write(Path(page).name, led(text, (ROOT / origin).parent))
    notes = sorted((ROOT / "docs/design").glob("*.md"))
    lines = "".join(f"/design/{note.stem}\n" for note in notes)
    text = (
        "# Design decisions\n\nWhy things are as they are: one short note a decision, with what was measured, and "
        f"what was tried and did not help.\n\n```{{toctree}}\n:maxdepth: 1\n\n{lines}```\n"
    )
    pages.write("decisions.md", text)


def lead_inside(app: Sphinx, name: str, source: list[str]) -> None:
    """Lead the links of a page that is about to be read."""
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md" and path.parent.name != "project":
        source[0] = led(source[0], path.parent)


def led(text: str, folder: Path) -> str:
    """Return Markdown whose links lead to pages of the site, wherever in the repository they led to.

    Args:
        text: of a page.
        folder: in which it lies.
    """

    def target(link: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / link[1]))
        if not path.is_relative_to(ROOT) or not path.exists():
            return link[0]  # the build says that it leads nowhere
        return _place(path.relative_to(ROOT).as_posix(), link[2] or "")

    parts = _FENCE.split(text)
    return "".join(part if i % 2 else _LINK.sub(target, part) for i, part in enumerate(parts))


def _place(path: str, anchor: str) -> str:
    if path in LEADS:
        return f"/{LEADS[path]}{anchor}"
    if path.startswith("docs/"):
        return f"/{path.removeprefix('docs/')}{anchor}"
    if path.startswith("conf/experiment/"):
        return "/reference/experiments.rst"
    if path.startswith("conf/"):
        return "/reference/configs.rst"
    return f"/../{path}"  # a file of code, which is offered for download
