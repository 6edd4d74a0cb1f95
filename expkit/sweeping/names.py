"""Short names for the jobs of a sweep, made of what tells them apart: "adam lr=0.01"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WORDS = {"KILLED": "stopped", "TIMEOUT": "timed out", "PENDING": "not begun"}
_SHORT = {"learning_rate": "lr"}
_NOT_A_NAME = ("none", "null", "true", "false", "")


def short_name(varies: Sequence[str], choices: Mapping[str, str]) -> str:
    """Return what varies in few words.

    Args:
        varies: overrides that not all jobs share, such as "optimizer=adam" and "optimizer.learning_rate=0.01".
        choices: the option chosen in each config group: what is chosen is told by its name alone.
    """
    pairs = [(key.lstrip("+~"), short_value(value)) for key, _, value in (one.partition("=") for one in varies)]
    words = []
    for key, value in pairs:
        alone = key in choices and "." not in key and value.lower() not in _NOT_A_NAME
        words.append(value if alone else f"{_short_key(key, [other for other, _ in pairs])}={value}")
    return " ".join(words)


def short_value(value: str) -> str:
    """Write what a search has drawn, 0.003860866271460547, as 0.003861: a name is only read."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 and "." in value else value
    except ValueError:
        return value


def _short_key(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, or as many as are needed to tell it from the others."""
    parts = key.split(".")
    for taken in range(1, len(parts) + 1):
        ending = parts[-taken:]
        if sum(other.split(".")[-taken:] == ending for other in keys) == 1 or taken == len(parts):
            return ".".join(_SHORT.get(part, part) for part in ending)
    return key


def status_word(status: str) -> str:
    """Return how a job ended, for people: "finished", "stopped", "timed out"."""
    return _WORDS.get(status, status.lower())
