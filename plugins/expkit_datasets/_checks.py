"""Checks of options that several datasets have in common."""

from __future__ import annotations

from collections.abc import Sequence

from expkit.api import ConfigError


def check_limit(dataset: str, limit: int | None, option: str = "limit") -> None:
    """Refuse a number of samples that keeps nothing.

    Raises:
        ConfigError: it is below 1.
    """
    if limit is not None and limit < 1:
        expected = "expected 1 or more, or null for all samples"
        raise ConfigError(f"dataset '{dataset}': {option} is {limit}; {expected}. Set dataset.{option}.")


def check_choice(dataset: str, option: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is not one of those allowed.

    Raises:
        ConfigError: it is not.
    """
    if value not in allowed:
        words = [repr(word) for word in allowed]
        expected = f"{', '.join(words[:-1])} or {words[-1]}"
        raise ConfigError(f"dataset '{dataset}': {option} is {value!r}; expected {expected}. Set dataset.{option}.")
