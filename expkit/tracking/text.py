"""Texts on their way to a store or to people: keys that MLflow takes, values as text, no passwords."""

from __future__ import annotations

import json
import re
import sys
from functools import lru_cache
from typing import Any

from expkit.masking import masked as masked

MAX_KEY = 250
"""Characters that MLflow takes in a name."""


def explain(error: BaseException) -> str:
    """First line of an error, or the cause that urllib3 hides at its end; without passwords."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("(raised as a result of")] or lines  # SQLAlchemy's preface
    text = masked(lines[0]) if lines else type(error).__name__
    cause = re.search(r"Caused by \w+\([\"'](?:HTTPS?Connection\w*\(.*?\): )?(.*?)[\"']?\)+$", text)
    return (cause[1] if cause else text)[:300].rstrip(". ")


@lru_cache(maxsize=1024)
def clean_key(key: str) -> str:
    """Return a name that every MLflow store takes: letters, digits and ``_ - . / space``."""
    return re.sub(r"[^\w\-./ ]", "_", key)[:MAX_KEY]


def as_text(value: Any) -> str:
    """Write a value as it would be written in an override: ``true``, ``null``, ``[20, 20]``."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, list, tuple, dict)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters, the last one an ellipsis when some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def as_logged(value: float) -> float:
    """Undo what a database makes of infinity: it keeps the largest number in its place."""
    return value if abs(value) < sys.float_info.max else value * 2
