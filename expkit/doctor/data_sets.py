"""Which genuine data sets are here, and what a run would take in place of those that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expkit.doctor.children import DATA
from expkit.doctor.examination import Scene
from expkit.findings import Finding
from expkit.paths import cache_dir, data_dir

_KINDS = {"env": "EXPKIT_DATA_DIR", "cache": "the cache", "root": "its folder"}


def folder(scene: Scene) -> Sequence[Finding]:
    """Say which folder of data the user has named."""
    del scene
    chosen = data_dir()
    if chosen is None:
        told = f"EXPKIT_DATA_DIR is not set: data are looked for in the cache, {cache_dir()}"
        return [Finding("ok", "data folder", told)]
    if not chosen.is_dir():
        advice = "Make it, or name the folder that has them: export EXPKIT_DATA_DIR=FOLDER"
        return [Finding("warning", "data folder", f"EXPKIT_DATA_DIR={chosen} is no folder", advice)]
    names = sorted(path.name for path in chosen.iterdir() if path.is_dir() and not path.name.startswith("."))
    held = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return [Finding("ok", "data folder", f"EXPKIT_DATA_DIR={chosen}, with {held or 'no folder of a data set'}")]


def data_sets(scene: Scene) -> Sequence[Finding]:
    """Say of each set whose files may be missing whether they are here, and whole."""
    found = []
    for step, answer in scene.child(DATA).answers("data_set"):
        name = step.values["name"]
        if not answer.started:
            found.append(Finding("warning", name, answer.error, "Mend what is said above, and run this again"))
        elif answer.error:
            error = answer.error.removeprefix("DataError: ").removeprefix(f"dataset {name!r}: ")
            found.append(Finding("FAIL", name, error, f"See what is known of it: python -m expkit show dataset/{name}"))
        elif answer.value is not None:
            found.append(_about(name, answer.value))
    return found


def _about(name: str, value: Mapping[str, Any]) -> Finding:
    train, valid, test = (f"{count:,}" for count in value["sizes"])
    if not value["stand_in"]:
        place = _KINDS.get(value["kind"], value["kind"])
        told = f"{value['location']} ({place}); {train} train, {valid} valid, {test} test"
        return Finding("ok", name, told if value["name"] == name else f"{value['name']}, {told}")
    instead = [
        *([f"downloads it into {cache_dir()}"] if value["downloads"] else []),
        *([f"trains on {value['name']}"] if value["stands_in"] else ["is refused"]),
    ]
    why = value["note"].removesuffix("; download is switched off")
    return Finding(
        "warning",
        name,
        f"not here: {why}. A run {' or, offline, '.join(instead)}",
        f"If you have its files: export EXPKIT_DATA_DIR=FOLDER (python -m expkit show dataset/{name})",
    )
