"""Where the jobs of a sweep run: GPUs and groups of cores, found without initialising CUDA or importing Paddle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from expkit.errors import ConfigError
from expkit.settings import SweepSettings
from expkit.sweeping.machine import Machine, look_around
from expkit.sweeping.needs import Need, Width

_CAPS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Variables that libraries read when they are loaded: without them each job would start a thread for every core."""


@dataclass(frozen=True)
class Slot:
    """A place that runs one job at a time.

    Attributes:
        name: "gpu:1", "gpu:0-1", "gpu:1 (2)", "cpu 2-3", or "cpu (1)" where no cores are its own.
        kind: "cpu" or "gpu".
        cores: that its processes may use; None leaves them to the system.
        threads: most threads that libraries start in its processes.
        gpu: what CUDA_VISIBLE_DEVICES becomes: numbers, or names of GPUs or of a part of one, "0,1"; "" for none.
    """

    name: str
    kind: str
    cores: tuple[int, ...] | None
    threads: int
    gpu: str = ""

    def environment(self) -> dict[str, str]:
        """Variables of its processes, to be set before they import Paddle."""
        found = {name: str(self.threads) for name in _CAPS}
        # Always set: a job of a CPU slot must not take a GPU that is another slot's.
        found["CUDA_VISIBLE_DEVICES"] = self.gpu
        if self.gpu.replace(",", "").isdigit() and "CUDA_VISIBLE_DEVICES" not in os.environ:
            # Numbers as nvidia-smi counts; CUDA's own order puts the fastest first. Who gave numbers meant CUDA's.
            found["CUDA_DEVICE_ORDER"] = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        return found


def find_slots(settings: SweepSettings, width: Width, machine: Machine | None = None) -> list[Slot]:
    """Spread a sweep over the devices that are wanted and there.

    - ``gpu``: every GPU, in groups of `width.gpus`, `jobs_per_device` slots for each group. A job sees these alone, as
      numbers 0, 1, ...; GPUs that make no whole group stay idle.
    - ``gpu:1``: the second of the GPUs that this process may use, counted as CUDA_VISIBLE_DEVICES lists them.
    - ``cpu``: groups of `width.cores` cores, as many as there are. Beside GPUs, or where it is named more than once,
      one group for each time it is named; GPU slots then keep off these cores, and share all others.
    - ``auto``: as ``gpu`` where there is one and a job would use it, else as ``cpu``.

    Groups are pinned to their cores where they cover all that this process may use; where `sweep.jobs` asks for less,
    the cores are shared out among them. Where a container's quota is what limits, no core is anybody's own: other
    containers may be pinned to the same.

    Args:
        settings: the node `sweep` of the config.
        width: of the widest job.
        machine: what there is; looked up by default.

    Raises:
        ConfigError: a device is not there, or is named in no such way, or a job needs more of them; says what is.
    """
    machine = machine or look_around()
    names = _names(settings.devices, machine, gpus=width.gpus > 0)
    gpus = _grouped(_chosen_gpus(names, machine), max(width.gpus, 1))
    wanted = sum(name == "cpu" for name in names)
    cpus: list[Slot] = []
    if wanted:
        count = wanted if gpus or wanted > 1 else max(1, machine.cpus // width.cores)
        if settings.jobs is not None and not gpus:
            count = min(count, settings.jobs)
        cpus = _cpu_slots(machine, count, width, share=not gpus)
    taken = {core for slot in cpus for core in slot.cores or ()}
    others = tuple(core for core in machine.cores if core not in taken) if taken else ()
    found = [
        Slot(_numbered(name, turn), "gpu", others or None, width.threads, visible)
        # One job on each GPU before any gets its second: few jobs then have a GPU each.
        for turn in range(settings.jobs_per_device)
        for name, visible in gpus
    ]
    return [*found, *cpus][: settings.jobs]


def refuse_unfit(slots: Sequence[Slot], need: Need, cores: int) -> None:
    """Refuse a job that asks for a device which its slot may not have; to be asked before any job starts.

    Args:
        slots: of the sweep.
        need: what the job asks for.
        cores: that a slot without any of its own may use.

    Raises:
        ConfigError: it wants a GPU and a slot has none, or a GPU by number, though it will see but its own, or more
            devices than a slot has cores for.
    """
    without = [slot.name for slot in slots if slot.kind == "cpu"]
    if need.device == "gpu" and without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        have = "has" if len(without) == 1 else "have"
        raise ConfigError(
            f"device=gpu: {', '.join(without[:3])}{more} of this sweep {have} no GPU. "
            "Use device=auto, or only GPUs: sweep.devices=gpu."
        )
    if need.index and need.device != "cpu":
        raise ConfigError(
            f"device.index={need.index}: a job of a sweep sees its own GPU alone, which is number 0 to it. Leave "
            f"device.index as it is and choose with sweep.devices=[gpu:{need.index}]."
        )
    computing = [slot for slot in slots if slot.kind == "cpu" or need.device == "cpu"]
    there = min((len(slot.cores) if slot.cores else cores for slot in computing), default=need.cores)
    if need.devices > 1 and there < need.cores:
        each = f", device.threads={need.threads} for each device" if need.threads > 1 else ""
        raise ConfigError(
            f"trainer.devices={need.devices}: a job needs {need.cores} cores{each}, and can have {there} here. "
            f"Use trainer.devices={there // need.threads or 1}."
        )


def _names(devices: Any, machine: Machine, *, gpus: bool) -> list[str]:
    """Return the devices that are wanted, each as "cpu" or "gpu:1"."""
    listed = [devices] if isinstance(devices, str) else devices
    if not isinstance(listed, Sequence) or not listed:
        raise ConfigError(f"sweep.devices={devices!r}: {_allowed(machine)}")
    names: list[str] = []
    for one in listed:
        if one == "auto" and len(listed) == 1:
            return _every_gpu(machine) if gpus and machine.gpus and machine.paddle_has_gpu else ["cpu"]
        if one == "gpu":
            names += _every_gpu(machine, refused=True)
        elif one == "cpu" or (isinstance(one, str) and one.startswith("gpu:") and one[4:].isdigit()):
            names.append(one)
        else:
            raise ConfigError(f"sweep.devices={_shown(devices)}: {one!r} is no device. {_allowed(machine)}")
    twice = next((name for name in names if name != "cpu" and names.count(name) > 1), None)
    if twice:
        raise ConfigError(
            f"sweep.devices={_shown(devices)} names {twice} twice. For several runs on one GPU: "
            "sweep.jobs_per_device=2."
        )
    return names


def _every_gpu(machine: Machine, *, refused: bool = False) -> list[str]:
    if refused and not machine.gpus:
        raise ConfigError(f"sweep.devices=gpu: no GPU was found. {_allowed(machine)}")
    return [f"gpu:{number}" for number in range(len(machine.gpus))]


def _chosen_gpus(names: Sequence[str], machine: Machine) -> list[tuple[int, str]]:
    """Return (number, value of CUDA_VISIBLE_DEVICES) of each GPU."""
    numbers = [int(name[4:]) for name in names if name != "cpu"]
    if numbers and not machine.paddle_has_gpu:
        raise ConfigError(
            "sweep.devices names a GPU, but this Paddle is the CPU build. "
            "Use sweep.devices=cpu, or install Paddle's GPU build in place of it (README, 'On a GPU')."
        )
    missing = [number for number in numbers if number >= len(machine.gpus)]
    if missing:
        raise ConfigError(f"sweep.devices: there is no gpu:{missing[0]}. {_allowed(machine)}")
    return [(number, machine.gpus[number]) for number in numbers]


def _grouped(gpus: Sequence[tuple[int, str]], size: int) -> list[tuple[str, str]]:
    """Return (name, value of CUDA_VISIBLE_DEVICES) of each group of GPUs.

    Raises:
        ConfigError: there is no whole group, or one would be of parts of GPUs, of which a process can use but one.
    """
    told = ", ".join(f"gpu:{number}" for number, _ in gpus[:8]) + (", ..." if len(gpus) > 8 else "")
    if gpus and len(gpus) < size:
        raise ConfigError(
            f"trainer.devices={size}: a job needs {size} GPUs, and this sweep has {len(gpus)} ({told}). "
            f"Use trainer.devices={len(gpus)}, or more GPUs by sweep.devices."
        )
    if size > 1 and any(visible.startswith("MIG-") for _, visible in gpus):
        raise ConfigError(
            f"trainer.devices={size}: {told} are parts of a GPU (MIG), of which one run can use but one. "
            "Use trainer.devices=1, or whole GPUs."
        )
    groups = [gpus[first : first + size] for first in range(0, len(gpus) - size + 1, size)]
    return [
        (f"gpu:{_ranges([number for number, _ in group])}", ",".join(visible for _, visible in group))
        for group in groups
    ]


def _cpu_slots(machine: Machine, count: int, width: Width, *, share: bool) -> list[Slot]:
    cores = machine.cores
    if count * width.cores > len(cores) or len(cores) > machine.cpus:
        return [Slot(f"cpu ({number + 1})", "cpu", None, width.threads) for number in range(count)]
    each = max(width.cores, len(cores) // count) if share else width.cores
    groups = [cores[number * each : (number + 1) * each] for number in range(count)]
    return [Slot(f"cpu {_ranges(group)}", "cpu", group, width.threads) for group in groups]


def _numbered(name: str, turn: int) -> str:
    return name if not turn else f"{name} ({turn + 1})"


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as short as may be: "0-3,8"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def _allowed(machine: Machine) -> str:
    there = f"{machine.cpus} core{'s' * (machine.cpus != 1)}"
    if machine.gpus:
        many = len(machine.gpus)
        there += f" and gpu:0{f' to gpu:{many - 1}' if many > 1 else ''} ({machine.source})"
    else:
        there += f", no GPU ({machine.source})"
    return f"Here are {there}. Allowed are auto, cpu, gpu, or a list such as [cpu,gpu:0]."


def _shown(devices: Any) -> str:
    return devices if isinstance(devices, str) else f"[{','.join(map(str, devices))}]"
