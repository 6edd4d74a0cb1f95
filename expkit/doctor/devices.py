"""What the machine has for runs: processor, cores, memory and GPUs."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence

from expkit.doctor.children import PADDLE
from expkit.doctor.examination import Scene
from expkit.findings import Finding
from expkit.processes import usable_cores
from expkit.provenance import processor as processor_name
from expkit.sweeping.machine import ask_nvidia_smi, cpu_quota, find_gpus, memory_limit, paddle_has_gpu

GIB = 1 << 30
LITTLE_MEMORY = 1.5 * GIB
"""Bytes; a run of the textbook's CNN with MLflow takes nearly 1 GiB."""


def processor(scene: Scene) -> Sequence[Finding]:
    """Say which processor and system this is."""
    del scene
    return [Finding("ok", "CPU", f"{processor_name()}; {platform.machine()}, {platform.platform()}")]


def cores(scene: Scene) -> Sequence[Finding]:
    """Say how many cores there are, and how many a run may use."""
    every, usable = os.cpu_count() or 1, len(usable_cores())
    told = f"{usable} of {every} usable" if usable < every else f"{every}"
    told += " (the others are not this process's: affinity)" if usable < every else ""
    quota = cpu_quota(scene.proc, scene.cgroups)
    if quota is not None:
        told += f", of which the container may keep {quota:g} busy"
    load = _load()
    told += "" if load is None else f"; load {load:.1f}"
    if quota is not None and quota < 1:
        return [Finding("warning", "cores", told, "Give the container a whole core at least: docker run --cpus=2")]
    most = usable if quota is None else min(usable, quota)
    if load is not None and load > 1.5 * most + 0.5:
        return [
            Finding(
                "warning",
                "cores",
                f"{told}: others compute here, so that runs are slower and times mean little",
                "See who it is: top. Leave cores to them: sweep.devices, docs/sweeps.md",
            )
        ]
    return [Finding("ok", "cores", told)]


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows
        return None


def memory(scene: Scene) -> Sequence[Finding]:
    """Say how much memory there is, and how much of it is left."""
    facts: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (scene.proc / "meminfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if value.strip().endswith("kB"):
                facts[key] = 1024 * int(value.split()[0])
    if "MemTotal" not in facts:
        return [Finding("ok", "memory", "not known on this system")]
    left = facts.get("MemAvailable", facts["MemTotal"])
    told = f"{facts['MemTotal'] / GIB:.1f} GiB, {left / GIB:.1f} available"
    limit = memory_limit(scene.proc, scene.cgroups)
    if limit is not None and limit[0] < facts["MemTotal"]:
        told += f"; the container may use {limit[0] / GIB:.1f} GiB, and uses {limit[1] / GIB:.1f}"
        left = min(left, limit[0])  # what it uses is mostly files, which give way
    if left < LITTLE_MEMORY:
        advice = "End what else uses it (top), or give the container more: docker run --memory=4g"
        return [Finding("warning", "memory", f"{told}: a run needs about 1 GiB", advice)]
    return [Finding("ok", "memory", told)]


def gpus(scene: Scene) -> Sequence[Finding]:
    """Say which GPUs there are, and whether Paddle can use them."""
    found, source = find_gpus(scene.environment, scene.proc)
    if not found:
        broken = _driver_trouble(scene.environment)
        if broken and not source.startswith("CUDA_VISIBLE"):
            advice = "Mend the driver; in a container, start it with the GPUs: docker run --gpus all"
            return [Finding("warning", "GPU", f"none: nvidia-smi is here, and says: {broken}", advice)]
        told = "hidden by CUDA_VISIBLE_DEVICES" if source.startswith("CUDA_VISIBLE") else f"none: {source}"
        return [Finding("ok", "GPU", f"{told}; runs use the CPU")]
    told = f"{len(found)}: {'; '.join(_descriptions(scene.environment, found)) or ', '.join(found)} ({source})"
    if not paddle_has_gpu():
        return [
            Finding(
                "warning",
                "GPU",
                f"{told}; the Paddle that is installed is for CPUs, so that runs do not use {_them(found)}",
                "python -m pip uninstall -y paddlepaddle; then install the build for your CUDA: README, 'On a GPU'",
            )
        ]
    answer = scene.child(PADDLE).answer("paddle")
    if answer.error:
        return [Finding("ok", "GPU", f"{told}; Paddle cannot be asked, see above")]
    if answer.value["gpus"] < len(found):
        return [
            Finding(
                "FAIL",
                "GPU",
                f"{told}; Paddle sees {answer.value['gpus']} of {len(found)}",
                f"Compare what `nvidia-smi` says of driver and CUDA with Paddle's CUDA {answer.value['cuda']}, and see "
                "CUDA_VISIBLE_DEVICES",
            )
        ]
    return [Finding("ok", "GPU", f"{told}; Paddle uses {_them(found)}")]


def _them(found: Sequence[str]) -> str:
    return "it" if len(found) == 1 else "them"


def sweeps(scene: Scene) -> Sequence[Finding]:
    """Say how many jobs of a sweep run here at once."""
    from expkit.settings import SweepSettings
    from expkit.sweeping.machine import look_around
    from expkit.sweeping.needs import Width
    from expkit.sweeping.slots import find_slots

    machine = look_around(scene.environment, scene.proc, scene.cgroups)
    slots = find_slots(SweepSettings(), Width(gpus=1 if machine.paddle_has_gpu else 0), machine)
    names = ", ".join(slot.name for slot in slots[:4]) + (", ..." if len(slots) > 4 else "")
    return [Finding("ok", "sweeps", f"{len(slots)} job{'s' * (len(slots) != 1)} at a time ({names})")]


def _descriptions(environment: Mapping[str, str], found: Sequence[str]) -> list[str]:
    """Return name, memory and driver of the GPUs that are meant, where they go by number."""
    code, lines = _smi(environment, "--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",")] for line in lines] if code == 0 else []
    return [f"{row[0]} {row[1]}, {row[2]}, driver {row[3]}" for row in rows if len(row) == 4 and row[0] in found]


def _driver_trouble(environment: Mapping[str, str]) -> str:
    """Return what nvidia-smi says where it is there and fails; "" else."""
    code, lines = _smi(environment, "-L")
    return (lines[0] if lines else f"exit code {code}") if code else ""


def _smi(environment: Mapping[str, str], *options: str) -> tuple[int, list[str]]:
    """Ask nvidia-smi; returns its exit code, 0 where it is not there, and the lines that it wrote."""
    try:
        asked = ask_nvidia_smi(environment, *options)
    except FileNotFoundError:
        return 0, []
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, [str(error)]
    return asked.returncode, [line.strip() for line in (asked.stdout + asked.stderr).splitlines() if line.strip()]
