"""The code of two runs is compared as it was: commits, what was not committed, and files that git did not know."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from expkit import provenance
from expkit.reproduction.recorded import Recorded
from expkit.reproduction.trees import FileChange, code_difference


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "model.py").write_text("one\ntwo\nthree\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def recorded(folder: Path, **changes: Any) -> Recorded:
    """Record the code of a folder as a run does that starts there."""
    state = provenance.git_state(folder)
    facts = {} if state is None else {"commit": state.commit, "dirty": state.dirty}
    known: dict[str, Any] = {
        "folder": folder,
        "origin": "",
        "record": {},
        "options": {},
        "steps": {},
        "epochs": {},
        "environment": {"git": facts},
        "diff": state.diff if state else "",
        "untracked": state.untracked if state else {},
    }
    return Recorded(**{**known, **changes})


def test_the_same_code_is_no_difference(repository: Path) -> None:
    assert code_difference(recorded(repository), recorded(repository), repository) is None


def test_what_was_not_committed_then_is_the_same_when_it_is_committed_now(repository: Path) -> None:
    (repository / "model.py").write_text("one\n2\nthree\n")
    (repository / "new.py").write_text("new\n")
    before = recorded(repository)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    assert code_difference(before, recorded(repository), repository) is None


def test_lines_are_counted_over_commits_changes_and_untracked_files(repository: Path) -> None:
    before = recorded(repository)
    (repository / "other.py").write_text("a\nb\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    (repository / "model.py").write_text("one\n2\nthree\nfour\n")
    (repository / "naïve file.py").write_text("new\n")
    objects = {path for path in (repository / ".git").rglob("*") if path.is_file()}
    found = code_difference(before, recorded(repository), repository)
    assert found is not None
    assert set(found.files) == {
        FileChange("model.py", 2, 1),
        FileChange("other.py", 2, 0),
        FileChange("naïve file.py", 1, 0),
    }
    assert (found.first[:7], found.second.partition(" with ")[2], found.why_not) == ("commit ", "changes", "")
    assert "-two\n+2\n" in found.patch
    assert {path for path in (repository / ".git").rglob("*") if path.is_file()} == objects


def test_a_commit_that_is_not_here_is_said(repository: Path) -> None:
    gone = {"git": {"commit": "f" * 40, "dirty": False}}
    found = code_difference(recorded(repository, environment=gone), recorded(repository), repository)
    assert found is not None
    assert found.why_not == f"the commit ffffffff is not in the repository {repository}"
    assert found.files == ()


def test_changes_to_a_commit_that_is_not_here_are_still_told_by_file(repository: Path) -> None:
    (repository / "model.py").write_text("one\n2\nthree\n")
    gone = {"git": {"commit": "f" * 40, "dirty": True}}
    with_change = recorded(repository, environment=gone)
    found = code_difference(with_change, recorded(repository, environment=gone, diff=""), repository)
    assert found is not None
    assert found.files == (FileChange("model.py", None, None),)


def test_runs_of_no_checkout_are_not_called_the_same(tmp_path: Path, repository: Path) -> None:
    nowhere = recorded(repository, environment={"git": {}}, diff="", untracked={})
    found = code_difference(nowhere, nowhere, tmp_path)
    assert found is not None
    assert found.why_not == "started in no checkout"


def test_a_patch_that_git_does_not_take_is_said(repository: Path) -> None:
    broken = recorded(repository, diff="diff --git a/x b/x\nnonsense\n")
    found = code_difference(broken, recorded(repository), repository)
    assert found is not None
    assert found.why_not.startswith("git cannot put them together: ")
