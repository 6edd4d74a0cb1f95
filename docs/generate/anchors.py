"""Checks the pages as they were written: every link within the site leads to a page, and to a place in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


class _Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.update(value for key in ("id", "name") if (value := given.get(key)))
        link = given.get(_LINKS.get(tag, ""))
        if link:
            self.links.add(link)


def check_output(app: Sphinx, error: Exception | None) -> None:
    """Warn of each link that leads nowhere."""
    if error is not None or app.builder.format != "html":
        return
    root = Path(app.outdir)
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links):
            if (fault := _fault(path, link, pages)) is not None:
                _LOGGER.warning("%s: the link %s leads to %s", path.relative_to(root), link, fault)


def _fault(path: Path, link: str, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no file"
    anchor = unquote(parts.fragment)
    missing = anchor and target in pages and anchor not in pages[target].anchors
    return f"no place called {anchor!r}" if missing else None
