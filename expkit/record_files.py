"""The files that say how a run was made and what happened, and their place in the tracking store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit import own_code, provenance
from expkit.capsule import REPORT
from expkit.config import ExperimentConfig, to_yaml
from expkit.files import write_whole
from expkit.identity import flat
from expkit.masking import masked_values, recordable, recordable_override
from expkit.runlog import log
from expkit.runs import RECORD, as_json
from expkit.tracking import Tracker

MADE, HAPPENED = "config", "record"
"""Folders of the run's artifacts; with both, a run can be reproduced when its own folder is gone."""
OF_MADE = ("config.yaml", "overrides.yaml", "environment.json", "git.diff")
OF_HAPPENED = ("history.json", "steps.csv", "reproduction.json")
UNTRACKED, CODE = "untracked", own_code.FOLDER


def write_config(folder: Path, config: ExperimentConfig) -> None:
    """Write the resolved config and what the user typed, without passwords; whole, since `resume` writes them again."""
    write_whole(folder / "config.yaml", to_yaml(recordable(config.resolved)))
    write_whole(folder / "overrides.yaml", to_yaml([recordable_override(one) for one in config.overrides]))
    own_code.write(folder, config.resolved.get(own_code.KEY, {}))


def write_environment(
    folder: Path, environment: Mapping[str, Any], git: provenance.GitState | None, tuning: Mapping[str, str]
) -> None:
    """Write versions, machine, and what the commit alone does not tell of the code: its diff, and untracked files."""
    facts = {**environment, "git": git_facts(git), "tuning": dict(tuning)}
    write_whole(folder / "environment.json", json.dumps(masked_values(facts), indent=2))
    if git is None:
        return
    if git.diff.strip():
        (folder / "git.diff").write_bytes(git.diff.encode("utf-8", "surrogateescape"))
    for name, text in git.untracked.items():
        path = folder / UNTRACKED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))


def git_facts(git: provenance.GitState | None) -> dict[str, Any]:
    """Return what is recorded of the code beside its changes."""
    if git is None:
        return {}
    facts = {"commit": git.commit, "branch": git.branch, "dirty": git.dirty, "prefix": git.prefix}
    if git.dirty:
        changes = json.dumps([git.diff, dict(sorted(git.untracked.items()))])
        facts["changes"] = hashlib.sha256(changes.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return facts


def store_made(tracker: Tracker, folder: Path) -> None:
    """Copy to the store how the run was made; at its start, so that it is there whatever ends the run."""
    for name in OF_MADE:
        if (folder / name).is_file():
            tracker.log_artifact(folder / name, MADE)
    for name in (UNTRACKED, CODE):
        if (folder / name).is_dir():
            tracker.log_artifacts(folder / name, f"{MADE}/{name}")
    tracker.log_artifact(folder / RECORD, HAPPENED)


def store_happened(tracker: Tracker, folder: Path, record: Mapping[str, Any]) -> None:
    """Copy to the store what happened: result, metrics of each epoch, loss of each step, log, pictures.

    Args:
        tracker: of the store.
        folder: of the run.
        record: as it will be in the folder when all is stored.
    """
    tracker.log_text(as_json(record), f"{HAPPENED}/{RECORD}")
    for name in OF_HAPPENED:
        if (folder / name).is_file():
            tracker.log_artifact(folder / name, HAPPENED)
    if (folder / "run.log").is_file():
        tracker.log_artifact(folder / "run.log")
    for report in folder.glob(f"capsules/*/{REPORT}"):  # the rest holds data and weights, and stays where it is
        tracker.log_artifact(report, f"capsules/{report.parent.name}")
    for name in ("plots", "inspect"):
        if (folder / name).is_dir():
            tracker.log_artifacts(folder / name, name)


def attempt(folder: Path, work: Callable[[], None]) -> None:
    """Write what belongs to the record of a run; a full disk must not hide why the run ended."""
    try:
        work()
    except OSError as error:
        log.warning("The record of the run in %s is incomplete: %s", folder, error)


def warn_of_changes(changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Say that a run goes on with other code than it began with, or other versions.

    Args:
        changed: what is otherwise in its environment, as `changed_values` gives it.
    """
    code = git_change(changed)
    found = [f"code: {code[0]} -> {code[1]}"] if code else []
    for key, (before, after) in changed.items():
        group, _, name = key.partition(".")
        if key == "python" or (group in ("versions", "plugins", "expkit") and before is not None):
            found.append(f"{name or key}: {before} -> {after or 'not installed'}")
    if found:
        log.warning(
            "The run goes on with something else than before, which is recorded: %s. What follows may not be what an "
            "uninterrupted run would have computed.",
            "; ".join(found),
        )


def git_change(changed: Mapping[str, Sequence[Any]]) -> tuple[str, str] | None:
    """Return in words what the code was and is, as far as `git_facts` tell; None where they are the same.

    Args:
        changed: as for `warn_of_changes`.
    """
    if "git.commit" in changed:
        before, after = (f"commit {commit[:8]}" if commit else "not recorded" for commit in changed["git.commit"])
        return before, after
    return ("uncommitted changes of then", "others") if "git.changes" in changed else None


def changed_values(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two trees of plain values, by dotted name: {"versions.numpy": ("1.26", "2.0")}."""
    before, after = flat(then), flat(now)
    keys = dict.fromkeys((*before, *after))
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
