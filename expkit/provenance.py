"""What a run ran on: versions, code, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from expkit import registry

PACKAGES = (
    "expkit",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "numpy",
    "hydra-core",
    "omegaconf",
    "mlflow",
    "safetensors",
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
        diff: how its tracked files differ, as a patch.
        untracked: text of small untracked code and config files by path.
    """

    commit: str
    branch: str
    dirty: bool
    diff: str
    untracked: Mapping[str, str] = field(default_factory=dict)


def git_state(folder: Path) -> GitState | None:
    """Return the git state of a folder; None where git is not installed or the folder is no work tree with a commit."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "HEAD"
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") or ""
    untracked = _untracked(folder)
    return GitState(commit.strip(), branch.strip(), bool(diff.strip() or untracked), diff, untracked)


def _untracked(folder: Path) -> dict[str, str]:
    """Read the untracked Python and YAML files that git does not ignore: a student's model is often not committed."""
    listed = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py", "*.yaml", "*.yml") or ""
    found: dict[str, str] = {}
    for name in [name for name in listed.split("\0") if name][:MOST_UNTRACKED]:
        path = folder / name
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return found


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
        if entry.distribution != "expkit"
    }
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device,
        "gpu": _gpu_name(device),
        "versions": versions,
        "plugins": plugins,
    }


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

    return str(paddle.device.cuda.get_device_name(int(device.partition(":")[2] or 0)))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a work tree too slow to ask
        return None
    return done.stdout if done.returncode == 0 else None
