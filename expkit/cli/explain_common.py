"""What the explanations of config errors share."""

from __future__ import annotations

from expkit import registry

COMMAND = "python -m expkit"


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def kind_of(group: str) -> registry.Kind | None:
    """Return the kind of component that a config group chooses, if it does."""
    return next((kind for kind in registry.KINDS if kind.config_group == group), None)
