"""The code of then: how that of today differs from it, and how it is brought back beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit import own_code, provenance
from expkit.errors import ConfigError
from expkit.registry import KINDS, entries
from expkit.reproduction.recorded import Recorded
from expkit.secret_names import MASK
from expkit.source import module_spec

_HEADER = re.compile(r"^diff --git ", re.M)
_NAMES = re.compile(r'"?a/(?P<old>.*?)"? "?b/(?P<new>.*?)"?$')
_SHOWN = 4


@dataclass(frozen=True)
class CodeChange:
    """How the code of today differs from that of a run.

    Attributes:
        then: "commit 1a2b3c4d with changes"; "unknown" where the run was started in no git checkout.
        now: the same of today.
        files: Python files that differ, as far as that can be known here.
        others: number of other files that differ.
        known: whether the commit of then is here, so that `files` is all there is.
    """

    then: str
    now: str
    files: tuple[str, ...] = ()
    others: int = 0
    known: bool = True

    @property
    def matters(self) -> bool:
        """Whether it may change what is computed: the config is recorded, so that only Python files do."""
        return bool(self.files) or not self.known

    def __str__(self) -> str:
        """Return the change in words."""
        if not self.known:
            return f"{self.then} -> {self.now}"
        shown = ", ".join(self.files[:_SHOWN]) + (f" and {len(self.files) - _SHOWN} more" * (len(self.files) > _SHOWN))
        what = shown or f"no Python file ({self.others} other file{'s' * (self.others != 1)})"
        return f"{self.then} -> {self.now}: {what}"


def code_change(recorded: Recorded, here: Path, runs_dir: Path) -> CodeChange | None:
    """Compare the code of a run with what is in a folder today.

    Args:
        recorded: the run.
        here: where the user is.
        runs_dir: whose files are not code.

    Returns:
        None when they are the same.
    """
    here = provenance.code_folder(here)
    commit, now = recorded.git.get("commit"), provenance.git_state(here, leave_out=runs_dir)
    if commit is None and now is None:
        return CodeChange("not recorded", "not known: neither was started in a git checkout", known=False)
    then_name = _name(commit, bool(recorded.git.get("dirty")))
    if now is None:
        return CodeChange(then_name, _name(None), known=False)
    now_name = _name(now.commit, now.dirty)
    if commit is None:
        return CodeChange(then_name, now_name, known=False)
    if provenance.git(here, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return CodeChange(then_name, f"{now_name} (the commit of then is not in this repository)", known=False)
    differing = _differing(recorded, now, here, commit)
    if not differing:
        return None
    files = tuple(sorted(name for name in differing if name.endswith(".py")))
    return CodeChange(then_name, now_name, files, len(differing) - len(files))


def _differing(recorded: Recorded, now: provenance.GitState, here: Path, commit: str) -> set[str]:
    """Return the files that differ between then and now: both are described against the commit of then."""
    top = provenance.top_folder(here) or here
    before, after = sections(recorded.diff), sections(provenance.diff(here, commit))
    differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    for name, text in recorded.untracked.items():
        same = (top / name).is_file() and provenance.code_of(top / name) == text
        differing = differing - {name} if same else differing | {name}
    return differing | {name for name in now.untracked if name not in recorded.untracked and name not in before}


def sections(patch: str) -> dict[str, str]:
    """Cut a patch into files; the line with abbreviated hashes, whose length varies, is left out."""
    found = {}
    for part in _HEADER.split(patch)[1:]:
        header, _, body = part.partition("\n")
        names = _NAMES.match(header)
        name = names["new"] if names else header
        found[name] = "\n".join(line for line in body.split("\n") if not line.startswith("index "))
    return found


def _name(commit: str | None, dirty: bool = False) -> str:
    return f"commit {commit[:8]}{' with changes' * dirty}" if commit else "unknown (no git checkout)"


@dataclass(frozen=True)
class Checkout:
    """The code of then in a folder of its own.

    Attributes:
        top: of its work tree.
        folder: where to start: in that work tree, or where the user is if that is in none.
        environment: of a process that shall run that code.
    """

    top: Path
    folder: Path
    environment: Mapping[str, str]


@contextmanager
def checked_out(recorded: Recorded, here: Path) -> Iterator[Checkout]:
    """Within this context the code of a run is checked out beside today's, with its changes and untracked files.

    Raises:
        ConfigError: the run was started in no git checkout, its commit is not here, its changes cannot be applied, or
            a component of it comes from code outside of the repository.
    """
    commit, code = recorded.git.get("commit"), provenance.code_folder(here)
    top = provenance.top_folder(code)
    if commit is None:
        raise ConfigError(
            f"--code recorded: {recorded.id} was not started in a git checkout, so its code is not recorded. "
            "Leave --code away to run today's code."
        )
    if top is None:
        raise ConfigError(
            f"--code recorded: {here} is in no git checkout. Go to that of the run, which was at commit {commit[:8]}."
        )
    if provenance.git(top, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise ConfigError(
            f"--code recorded: the commit {commit} of the run is not in the repository {top}. Fetch it "
            f"(git fetch --all), or go to the repository that has it."
        )
    _refuse_foreign(recorded, top)
    folder = Path(tempfile.mkdtemp(prefix="expkit-code-"))
    tree = folder / "code"
    try:
        _git(top, "worktree", "add", "--detach", "--quiet", str(tree), commit)
        if recorded.diff.strip():
            _git(tree, "apply", "--index", "--whitespace=nowarn", "-", text=recorded.diff)
        for name, content in recorded.untracked.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8", "surrogateescape"))
        start = here  # outside of the repository, as the run was
        if code == here:
            start = tree / str(recorded.git.get("prefix") or "")
            start.mkdir(parents=True, exist_ok=True)  # where nothing was committed in it
        yield Checkout(tree, start, {**os.environ, **_paths(top, tree, start)})
    finally:
        provenance.git(top, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(folder, ignore_errors=True)
        provenance.git(top, "worktree", "prune")


def _paths(top: Path, tree: Path, start: Path) -> dict[str, str]:
    """Return variables that make Python find the modules of `tree` where it finds those of `top` now."""
    inside = [Path(entry).resolve() for entry in sys.path if entry and Path(entry).resolve().is_relative_to(top)]
    found = [str(start), *(str(tree / path.relative_to(top)) for path in inside)]
    further = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [*dict.fromkeys(path for path in found if Path(path).is_dir()), *further]
    values = {"PYTHONPATH": os.pathsep.join(paths)}
    for name in ("EXPKIT_DATA_DIR", "EXPKIT_CACHE_DIR"):  # they may be relative to where we are
        if os.environ.get(name):
            values[name] = str(Path(os.environ[name]).expanduser().absolute())
    return values


def _refuse_foreign(recorded: Recorded, top: Path) -> None:
    """Refuse components whose code is neither in the repository nor of a distribution, whose version is recorded."""
    announced = {
        entry.module.partition(".")[0] for kind in KINDS for found in entries(kind).values() for entry in found
    }
    installed = [Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib")]
    for target in targets(recorded.options):
        module = target.rpartition(".")[0]
        kept = f"{module.replace('.', '/')}.py" in recorded.options.get(own_code.KEY, {})
        spec = None if kept or module.partition(".")[0] in announced else module_spec(module)
        if spec is None or spec.origin is None:  # it may be in the code of then alone
            continue
        path = Path(spec.origin).resolve()
        if not any(path.is_relative_to(folder) for folder in (top.resolve(), *installed)):
            raise ConfigError(
                f"--code recorded: {target} comes from {path}, which is outside of the repository {top}: how it was "
                "then is not recorded. Bring it back by hand and leave --code away."
            )


def targets(node: Any) -> Iterator[str]:
    """Yield the targets of all components in a resolved config."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from targets(value)


def _git(folder: Path, *arguments: str, text: str = "") -> None:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(
            f"--code recorded: `git {' '.join(arguments[:2])}` failed: {said[0] if said else done.returncode}. "
            f"{'Passwords in the changes were not recorded (***). ' if MASK in text else ''}"
            "Leave --code away to run today's code."
        )
