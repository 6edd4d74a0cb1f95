"""What a run ran on: versions, code, machine."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from expkit import registry
from expkit.masking import masked
from expkit.processes import usable_cores

PACKAGES = (
    "expkit",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "numpy",
    "pillow",
    "scikit-learn",
    "hydra-core",
    "omegaconf",
    "mlflow",
)
GIT_SECONDS = 10
MOST_UNTRACKED = 50
MOST_BYTES = 200_000


@dataclass(frozen=True)
class GitState:
    """The code of the folder that a run was started in.

    Attributes:
        commit: full hash.
        branch: name, or "HEAD" when detached.
        dirty: whether the work tree differs from the commit.
        diff: how its tracked files differ, as a patch; bytes that are not UTF-8 are kept as surrogates.
        untracked: text of small untracked code and config files by path from the top of the work tree.
        prefix: the folder in the work tree, such as "students/anna/"; empty for its top.
    """

    commit: str
    branch: str
    dirty: bool
    diff: str
    untracked: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""


def code_folder(folder: Path) -> Path:
    """Return where the git state of a run's code is asked: a folder in a git work tree, else expkit's own."""
    return folder if git(folder, "rev-parse", "HEAD") is not None else Path(__file__).resolve().parent


def git_state(folder: Path, leave_out: Path | None = None) -> GitState | None:
    """Return the git state of a folder; None where git is not installed or the folder is no work tree with a commit.

    Args:
        folder: in the work tree.
        leave_out: a folder whose untracked files are not code: that of the runs, where git does not ignore it.
    """
    commit = git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    branch = git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "HEAD"
    changes = diff(folder, "HEAD")
    untracked = _untracked(folder, leave_out)
    prefix = (git(folder, "rev-parse", "--show-prefix") or "").strip()
    return GitState(commit.strip(), branch.strip(), bool(changes.strip() or untracked), changes, untracked, prefix)


def diff(folder: Path, commit: str) -> str:
    """Return how the tracked files differ from a commit, without secrets, whatever the user's settings of git are."""
    options = ("--no-color", "--no-ext-diff", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/")
    return masked(git(folder, "-c", "core.quotePath=false", "diff", *options, commit, "--") or "", code=True)


def top_folder(folder: Path) -> Path | None:
    """Return the top of the work tree that a folder is in; None where it is in none."""
    top = git(folder, "rev-parse", "--show-toplevel")
    return Path(top.rstrip("\n")) if top else None


def _untracked(folder: Path, leave_out: Path | None) -> dict[str, str]:
    """Read the untracked Python and YAML files that git does not ignore: a student's model is often not committed."""
    top = top_folder(folder) or folder
    listed = git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py", "*.yaml", "*.yml") or ""
    paths = [top / name for name in listed.split("\0") if name]
    left_out = None if leave_out is None else leave_out.resolve()
    code = [path for path in paths if left_out is None or not path.resolve().is_relative_to(left_out)]
    found: dict[str, str] = {}
    for path in code[:MOST_UNTRACKED]:
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            found[path.relative_to(top).as_posix()] = code_of(path)
    return found


def code_of(path: Path) -> str:
    """Read a source file without the secrets in it; bytes that are not UTF-8 are kept as surrogates."""
    return masked(path.read_bytes().decode("utf-8", "surrogateescape"), code=True)


def environment(device: str) -> dict[str, Any]:
    """Return versions and machine as plain values.

    Args:
        device: the run's device, as Paddle calls it.
    """
    versions = {name: found for name in PACKAGES if (found := _version(name)) is not None}
    plugins = {
        entry.distribution: entry.version
        for kind in registry.KINDS
        for found_entries in registry.entries(kind).values()
        for entry in found_entries
        if entry.distribution != "expkit" and not entry.own
    }
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(usable_cores()),
        "device": device,
        "gpu": _gpu_name(device),
        "versions": versions,
        "plugins": plugins,
        "expkit": _own_code(Path.cwd()),
    }


def _own_code(folder: Path) -> dict[str, str]:
    """Return the commit of expkit's own checkout, and a hash of its changes; empty where a run's git state is of it."""
    package = Path(__file__).resolve().parent
    top = top_folder(package)
    if top is None or top_folder(code_folder(folder)) == top:
        return {}
    changes = diff(package, "HEAD")
    digest = hashlib.sha256(changes.encode("utf-8", "surrogateescape")).hexdigest()[:8] if changes else "none"
    return {"commit": (git(package, "rev-parse", "HEAD") or "").strip()[:8], "changes": digest}


def processor() -> str:
    """Name of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _gpu_name(device: str) -> str | None:
    if not device.startswith("gpu"):
        return None
    import paddle

    return str(paddle.device.cuda.get_device_name(int(device.partition(":")[2].split(" ")[0] or 0)))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def pinned(*names: str) -> str | None:
    """Return a requirement of the first of these packages that is installed; None where none is.

    A local version, such as "+cu126", is left out: it is on no index.

    Args:
        names: of the packages; the requirement is for the first name, by which others install it as well.
    """
    found = next(filter(None, map(_version, names)), None)
    return None if found is None else f"{names[0]}=={found.split('+')[0]}"


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git answers, with bytes that are not UTF-8 as surrogates; None where it fails or there is none."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a work tree too slow to ask
        return None
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
