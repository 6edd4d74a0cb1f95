"""What the explanations of config errors share."""

from __future__ import annotations

from expkit import registry

COMMAND = "python -m expkit"


def kind_of(group: str) -> registry.Kind | None:
    """Return the kind of component that a config group chooses, if it does."""
    return next((kind for kind in registry.KINDS if kind.config_group == group), None)
