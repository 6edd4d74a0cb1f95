"""The code of two runs compared: both are put together as git trees, in a scratch folder that git forgets."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from expkit import provenance
from expkit.reproduction.recorded import Recorded
from expkit.reproduction.work_tree import sections

_SECONDS = 60


@dataclass(frozen=True)
class FileChange:
    """A file that differs.

    Attributes:
        name: from the top of the repository.
        added: lines that only the second has; None of a file that is not text, or where it is not known.
        removed: lines that only the first has.
    """

    name: str
    added: int | None
    removed: int | None


@dataclass(frozen=True)
class CodeDifference:
    """How the code of two runs differs.

    Attributes:
        first: that of the first: "commit 1a2b3c4d with changes".
        second: that of the second.
        files: that differ; all of them only where `why_not` is empty.
        patch: which makes the first into the second; empty where that is not known.
        why_not: why they could not be compared wholly.
    """

    first: str
    second: str
    files: tuple[FileChange, ...] = ()
    patch: str = ""
    why_not: str = ""


def code_difference(first: Recorded, second: Recorded, here: Path) -> CodeDifference | None:
    """Compare the code of two runs: their commits with what was not committed.

    Args:
        first: one run.
        second: the other.
        here: a folder in the repository that they were started in; nothing is written there.

    Returns:
        None where they are the same.
    """
    commits = [run.git.get("commit") for run in (first, second)]
    if commits[0] == commits[1] and first.diff == second.diff and first.untracked == second.untracked:
        return None if commits[0] else CodeDifference("not recorded", "not recorded", why_not="started in no checkout")
    names = [_name(run) for run in (first, second)]
    if None in commits:
        return CodeDifference(names[0], names[1], why_not="one was started in no git checkout")
    top = provenance.top_folder(provenance.code_folder(here))
    missing = [str(commit) for commit in commits if top is None or not _has(top, str(commit))]
    if top is not None and not missing:
        try:
            return _compared(top, first, second, names)
        except (OSError, subprocess.SubprocessError) as error:
            missing = []
            why = f"git cannot put them together: {_said(error)}"
    else:
        why = f"the commit {missing[0][:8]} is not in the repository {top or here}"
    return CodeDifference(names[0], names[1], _by_patches(first, second), why_not=why)


def _compared(top: Path, first: Recorded, second: Recorded, names: list[str]) -> CodeDifference | None:
    with tempfile.TemporaryDirectory(prefix="expkit-trees-") as scratch:
        trees = [_tree(top, run, Path(scratch)) for run in (first, second)]
        if trees[0] == trees[1]:
            return None
        environment = _environment(top, Path(scratch))
        options = ("-c", "core.quotePath=false", "diff", "--no-color", "--no-ext-diff", "--no-renames")
        counted = _git(top, environment, *options, "--numstat", "-z", *trees)
        patch = _git(top, environment, *options, *trees)
    files = [line.split("\t", 2) for line in counted.split("\0") if line]
    changes = tuple(FileChange(name, _number(added), _number(removed)) for added, removed, name in files)
    return CodeDifference(names[0], names[1], changes, patch)


def _tree(top: Path, run: Recorded, scratch: Path) -> str:
    """Return the tree of a run's code: its commit, with its changes and its untracked files."""
    environment = _environment(top, scratch)
    _git(top, environment, "read-tree", str(run.git["commit"]))
    if run.diff.strip():
        _git(top, environment, "apply", "--cached", "--whitespace=nowarn", "-", text=run.diff)
    for name, content in run.untracked.items():
        blob = _git(top, environment, "hash-object", "-w", "--stdin", text=content).strip()
        _git(top, environment, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    return _git(top, environment, "write-tree").strip()


def _environment(top: Path, scratch: Path) -> dict[str, str]:
    """Let git read the repository's objects, and write into the scratch folder alone."""
    objects = provenance.git(top, "rev-parse", "--git-path", "objects") or ""
    (scratch / "objects").mkdir(exist_ok=True)
    return {
        **os.environ,
        "GIT_INDEX_FILE": str(scratch / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((top / objects.strip()).resolve()),
    }


def _git(top: Path, environment: Mapping[str, str], *arguments: str, text: str = "") -> str:
    done = subprocess.run(
        ["git", "-C", str(top), *arguments],
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        env=dict(environment),
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout.decode("utf-8", "surrogateescape")


def _has(top: Path, commit: str) -> bool:
    return provenance.git(top, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def _by_patches(first: Recorded, second: Recorded) -> tuple[FileChange, ...]:
    """Return the files whose changes differ, of two runs of one commit that is not here."""
    if first.git.get("commit") != second.git.get("commit"):
        return ()
    before = {**sections(first.diff), **first.untracked}
    after = {**sections(second.diff), **second.untracked}
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return tuple(FileChange(name, None, None) for name in names)


def _name(run: Recorded) -> str:
    commit = run.git.get("commit")
    return f"commit {commit[:8]}{' with changes' * bool(run.git.get('dirty'))}" if commit else "not recorded"


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _said(error: Exception) -> str:
    said = getattr(error, "stderr", b"") or b""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else str(error)
