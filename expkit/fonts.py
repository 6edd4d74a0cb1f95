"""Fonts for names that Matplotlib's own cannot write, such as Chinese ones; looked for only where a text needs them."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

log = logging.getLogger("expkit")

_PREFERRED = (
    *("notosanscjk", "notosanssc", "sourcehansans", "pingfang", "hiragino", "msyh", "microsoftyahei", "wqy"),
    *(
        "simhei",
        "stheiti",
        "heiti",
        "droidsansfallback",
        "malgun",
        "yugoth",
        "meiryo",
        "simsun",
        "noto",
        "arialunicode",
    ),
)
"""What the files of readable fonts are called, the best first."""
_HEAVY = ("bold", "bd", "black", "light", "thin", "medium", "italic", "oblique", "mono")
_BOXES = "lastresort"
"""A font that has everything, as boxes."""
_told: set[str] = set()


@contextlib.contextmanager
def able_to_write(figure: Any) -> Iterator[None]:
    """Within this context all texts of a figure can be drawn; without a font for one, that is said once.

    Args:
        figure: of Matplotlib, complete.
    """
    from matplotlib.text import Text

    texts = [(text, lacking) for text in figure.findobj(Text) if (lacking := _lacking(text.get_text()))]
    missing = "".join(sorted({character for _, lacking in texts for character in lacking}))
    name, left = _font_for(missing) if missing else ("", "")
    for text, _ in texts if name else ():
        text.set_fontfamily([*text.get_fontfamily(), name])
    if left and not _told:
        _told.add(left)
        log.warning(
            "pictures show boxes for %s: no font that is installed here has them. For Chinese, Japanese and Korean "
            "install Noto Sans CJK (Debian, Ubuntu: apt install fonts-noto-cjk), and draw again.",
            f"{left[:10]}{'…' if len(left) > 10 else ''}",
        )
    matplotlib_log = logging.getLogger("matplotlib.font_manager")
    matplotlib_log.addFilter(_is_of_use)
    try:
        with warnings.catch_warnings():
            if left:
                warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font", category=UserWarning)
            yield
    finally:
        matplotlib_log.removeFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Drop that a font has one weight only, which is true of many fonts for Chinese."""
    return "Failed to find font weight" not in record.getMessage()


def find_font(characters: str) -> tuple[str, str]:
    """Return the name of the installed font that has most of some characters, or "", and those that it lacks."""
    return _font_for(characters)


def _lacking(text: str) -> str:
    """Return the characters of a text that Matplotlib's own font does not have."""
    return "" if text.isascii() else "".join(one for one in text if not one.isspace() and ord(one) not in _own())


@lru_cache(maxsize=1)
def _own() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


@lru_cache(maxsize=64)
def _font_for(missing: str) -> tuple[str, str]:
    """Return the name of an installed font that has most of some characters, and those that it lacks."""
    best, left = None, missing
    for path in _installed():
        lacks = _lacks(path, missing)
        if len(lacks) < len(left):
            best, left = path, lacks
        if not left:
            break
    return ("" if best is None else _known_as(best)), left


def _installed() -> list[Path]:
    from matplotlib.font_manager import findSystemFonts

    paths = [Path(one) for one in findSystemFonts()]
    return sorted((path for path in paths if _BOXES not in _plain(path)), key=_rank)


def _rank(path: Path) -> tuple[int, bool, int, str]:
    name = _plain(path)
    place = next((number for number, one in enumerate(_PREFERRED) if one in name), len(_PREFERRED))
    return place, any(one in name for one in _HEAVY), len(name), str(path)


def _plain(path: Path) -> str:
    return path.stem.lower().replace("-", "").replace("_", "").replace(" ", "")


def _lacks(path: Path, characters: str) -> str:
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
        return "".join(one for one in characters if not font.get_char_index(ord(one)))
    except (OSError, RuntimeError, ValueError):  # damaged, or of a kind that FreeType cannot read
        return characters


def _known_as(path: Path) -> str:
    """Make a font known to Matplotlib, whose own list may be older than the font; returns its name there."""
    from matplotlib.font_manager import fontManager, get_font

    fontManager.addfont(path)
    return str(get_font(str(path)).family_name)
