from __future__ import annotations

import json
import subprocess
from importlib.metadata import version

import pytest

from expkit.provenance import environment, git_state, processor


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "code"
    folder.mkdir()

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "work")
    return folder, git


def test_a_commit_its_branch_and_its_changes_are_seen(repository):
    folder, git = repository
    (folder / "sub").mkdir()
    (folder / "a.py").write_text("x = 1\n")
    assert git_state(folder) is None  # no commit yet
    git("add", "a.py")
    git("commit", "-q", "-m", "first")
    state = git_state(folder / "sub")
    assert (state.commit, state.branch, state.dirty, state.diff) == (
        git("rev-parse", "HEAD"),
        "work",
        False,
        "",
    )
    (folder / "a.py").write_text("x = 2\n")
    state = git_state(folder / "sub")
    assert state.dirty
    assert "-x = 1\n+x = 2\n" in state.diff
    git("checkout", "-q", "--detach")
    assert git_state(folder).branch == "HEAD"


def test_the_diff_is_a_patch_that_brings_the_code_back(repository):
    folder, git = repository
    (folder / "a.py").write_text("Straße\n", encoding="latin-1")
    git("add", "a.py")
    git("commit", "-q", "-m", "first")
    (folder / "a.py").write_text("x = 2\n")
    (folder / "staged.py").write_text("y = 1\n")
    git("add", "staged.py")
    patch = git_state(folder).diff
    assert "+y = 1" in patch
    assert "+x = 2" in patch


def test_no_repository_no_folder_and_no_git_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "missing") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_the_environment_is_plain_values():
    facts = environment("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["paddlepaddle"] == version("paddlepaddle")
    assert facts["versions"]["expkit"] == version("expkit")
    assert "expkit" not in facts["plugins"]
    assert facts["cores"] >= 1
    assert facts["gpu"] is None
    assert processor()
