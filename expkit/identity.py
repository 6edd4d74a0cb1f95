"""What makes a run the run it is: a hash of its config, without what changes nothing of what is learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from expkit.masking import without_passwords

LEFT_OUT = (
    "runs_dir",  # where it is written
    "tracking.",  # where results go
    "sweep.",  # where it is computed, and what becomes of its neighbours
    "plots.",  # which pictures are drawn
    "export.",  # what becomes of the weights
    "trainer.progress",  # what the screen shows
    "trainer.auto_resume",  # how it came to be started
    "trainer.stop_after",  # where it pauses
    "trainer.devices_timeout",  # when a device is given up
    "checkpoint.every_steps",  # how often it is saved
    "checkpoint.every_seconds",
    "checkpoint.sync_every",
    "checkpoint.keep",
    "dataset.root",  # where the data lies; its fingerprint is compared
    "dataset.loading",  # how batches are made; they are the same bit by bit
    "dataset.workers",
    "dataset.prefetch",
)
"""Options, and with a dot at the end groups of options, that may differ between two starts of one run."""


def config_hash(resolved: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a resolved config in hex, without secrets and what is `LEFT_OUT`."""
    kept = {key: value for key, value in flat(without_passwords(resolved)).items() if not is_left_out(key)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def is_left_out(key: str) -> bool:
    """Whether an option changes nothing of what a run learns."""
    return any(key.startswith(name) if name.endswith(".") else key == name for name in LEFT_OUT)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two resolved configs by dotted name, (then, now), without what is `LEFT_OUT`.

    What one of them does not have is None there.
    """
    before, after = flat(without_passwords(then)), flat(without_passwords(now))
    return {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys((*before, *after))
        if not is_left_out(key) and before.get(key) != after.get(key)
    }


def going_on(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resolved config of a run that goes on: what is `LEFT_OUT` as another one has it, all else as it was.

    Args:
        then: of the run.
        now: of the command that goes on with it.
    """
    return _going_on(then, now, "")


def _going_on(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key in dict.fromkeys((*then, *now)):
        name, before, after = f"{prefix}{key}", then.get(key), now.get(key)
        if is_left_out(name) or is_left_out(f"{name}."):
            if key in now:
                made[key] = after
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            made[key] = _going_on(before, after, f"{name}.")
        elif key in then:
            made[key] = before
    return made


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree of plain values by dotted name: {"model.hidden": [64, 64], ...}; empty branches are left out."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
