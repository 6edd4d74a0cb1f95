"""What this machine has for jobs: cores and GPUs, found without initialising CUDA or importing Paddle."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from expkit.processes import usable_cores

_SECONDS = 20
"""Longest wait for nvidia-smi, which takes seconds where the driver has to wake up first."""
_NO_LIMIT = 1 << 60
"""Bytes; the first version of control groups writes an even larger number where there is no limit."""
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        cores: numbers of those that this process may use.
        cpus: as many of them as it may keep busy: fewer where a container has a quota.
        gpus: what CUDA_VISIBLE_DEVICES has to be for each GPU alone.
        source: who says so, in words.
        paddle_has_gpu: whether the Paddle that is installed can use one.
    """

    cores: tuple[int, ...]
    cpus: int
    gpus: tuple[str, ...] = ()
    source: str = "nvidia-smi"
    paddle_has_gpu: bool = True


def look_around(
    environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> Machine:
    """Find the cores and GPUs that this process may use.

    Args:
        environment: its variables.
        proc: where the kernel tells of processes and drivers.
        cgroups: where it tells of a container's limits.
    """
    cores = usable_cores()
    quota = cpu_quota(proc, cgroups)
    cpus = len(cores) if quota is None else max(1, min(len(cores), int(quota)))
    gpus, source = find_gpus(environment, proc)
    return Machine(cores, cpus, gpus, source, paddle_has_gpu())


def find_gpus(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc")) -> tuple[tuple[str, ...], str]:
    """Return what CUDA_VISIBLE_DEVICES has to be for each GPU alone, and who says so.

    What the variable says already is what this process was given, by a scheduler or a user: its entries are taken as
    they are (numbers, UUIDs, parts of a GPU), up to the first that is not there, as CUDA does it.
    """
    there, source = _by_smi(environment)
    if source is None:
        there, source = _by_proc(proc)
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return tuple(there), source
    known = None if not there else [*there, *map(str, range(len(there)))]
    found: list[str] = []
    for entry in (part.strip() for part in given.split(",")):
        number = re.fullmatch(r"\d+", entry)
        if not number and not entry.startswith(("GPU-", "MIG-")):
            break  # "-1", "NoDevFiles", or nothing
        if number and known is not None and entry not in known:
            break
        found.append(entry)
    return tuple(found), f"CUDA_VISIBLE_DEVICES={given}"


def ask_nvidia_smi(environment: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Return what nvidia-smi answers, within 20 seconds.

    Args:
        environment: for it.
        options: of it.

    Raises:
        OSError: it is not there, or cannot be run.
        subprocess.TimeoutExpired: it does not answer.
    """
    return subprocess.run(
        ["nvidia-smi", *options],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
    )


def _by_smi(environment: Mapping[str, str]) -> tuple[list[str], str | None]:
    """Ask nvidia-smi; a GPU that is cut into parts counts as these, which go by name."""
    try:
        asked = ask_nvidia_smi(environment, "-L")
    except (OSError, subprocess.TimeoutExpired):
        return [], None
    if asked.returncode != 0:
        return [], None
    found: list[list[str]] = []
    for line in asked.stdout.splitlines():
        gpu = re.match(r"GPU (\d+):", line)
        part = re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)
        if gpu:
            found.append([gpu[1]])
        elif part and found:
            found[-1].append(part[1])
    return [name for gpu in found for name in (gpu[1:] or gpu)], "nvidia-smi"


def _by_proc(proc: Path) -> tuple[list[str], str]:
    folder = proc / "driver/nvidia/gpus"
    count = 0
    with contextlib.suppress(OSError):
        count = len(list(folder.iterdir()))
    return [
        str(number) for number in range(count)
    ], f"{folder}" if count else "neither nvidia-smi nor the driver is here"


def cpu_quota(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores the control groups of this process may keep busy; None for no limit."""
    limits = []
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                limits += _along(cgroups, path, _of_v2)
            elif "cpu" in controllers.split(","):
                limits += _along(cgroups / controllers, path, _of_v1) + _along(cgroups / "cpu", path, _of_v1)
    return min(limits, default=None)


def memory_limit(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> tuple[int, int] | None:
    """Return how many bytes the control groups of this process allow, and how many are in use; None for no limit."""
    found: list[tuple[int, int]] = []
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found += _along(cgroups, path, partial(_memory, limit="memory.max", usage="memory.current"))
            elif "memory" in controllers.split(","):
                v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                found += _along(cgroups / "memory", path, partial(_memory, limit=v1[0], usage=v1[1]))
    return min(found, default=None, key=lambda one: one[0] - one[1])


def _memory(group: Path, limit: str, usage: str) -> tuple[int, int] | None:
    most = (group / limit).read_text(encoding="utf-8").strip()
    if most == "max" or int(most) >= _NO_LIMIT:
        return None
    return int(most), int((group / usage).read_text(encoding="utf-8"))


def _along(root: Path, path: str, read: Callable[[Path], T | None]) -> list[T]:
    """Read a limit from a group and from all that it lies in; in a container its own group is the root."""
    folder = root / path.strip("/")
    found = []
    for group in (folder, *folder.parents):
        if group.is_relative_to(root):
            with contextlib.suppress(OSError, ValueError):
                found.append(read(group))
    return [limit for limit in found if limit is not None]


def _of_v2(group: Path) -> float | None:
    quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    return None if quota == "max" else int(quota) / int(period)


def _of_v1(group: Path) -> float | None:
    quota = int((group / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    period = int((group / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    return None if quota <= 0 else quota / period


def paddle_has_gpu() -> bool:
    """Whether the Paddle that is installed was built for GPUs, read from a file of it: importing it takes a second."""
    try:
        found = importlib.util.find_spec("paddle")
        assert found is not None
        assert found.origin is not None
        text = (Path(found.origin).parent / "version/__init__.py").read_text(encoding="utf-8")
    except (AssertionError, ImportError, OSError, ValueError):
        return True  # it will be said when Paddle is imported
    cuda = re.search(r"^cuda_version\s*=\s*'(.*)'", text, re.M)
    return cuda is None or cuda[1] not in ("False", "")
