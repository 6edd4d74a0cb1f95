"""The page: a fixed table of files, so that no request names one of the disk."""

from __future__ import annotations

from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
NAMES = ("index.html", "style.css", "main.js", "drawing.js", "answers.js", "table.js", "server.js", "icon.svg")


def assets() -> dict[str, tuple[bytes, str]]:
    """Return content and content type of each file by its path on the server; the page itself is "/"."""
    folder = files(__name__)
    found = {f"/{name}": ((folder / name).read_bytes(), TYPES[name.rpartition(".")[2]]) for name in NAMES}
    found["/"] = found.pop("/index.html")
    return found
