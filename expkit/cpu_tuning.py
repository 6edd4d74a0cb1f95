"""Settings that make Paddle faster on a CPU without touching a model; to be applied before Paddle is imported.

With the learner's layer fixes they make a step of the textbook CNN more than twice as fast on AMD processors; see
benchmarks/RESULTS.md and docs/design/0003-cpu-tuning.md.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

from expkit.errors import ConfigError

_AVX512 = {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}
_AVX2 = {"avx2", "fma"}
_AMD = ("AuthenticAMD", "HygonGenuine")
_applied: tuple[bool, dict[str, str]] | None = None
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def tune(wanted: bool) -> dict[str, str]:
    """Apply what fits this machine, if wanted, and return it as tags, such as {"tune.mkl_cpu_type": "7"}.

    The settings belong to the process and cannot be undone once Paddle has computed something: the first call decides,
    and later calls (of a sweep that runs its jobs in one process) must want the same.

    Raises:
        ConfigError: an earlier call in this process wanted the opposite.
    """
    global _applied
    if _applied is None:
        _applied = (wanted, apply() if wanted else {})
    if _applied[0] != wanted:
        raise ConfigError(
            f"device.tune={str(wanted).lower()}: an earlier job of this process ran with the opposite, and the "
            "settings cannot be changed any more. Start the two as commands of their own."
        )
    return dict(_applied[1])


def apply() -> dict[str, str]:
    """Apply what fits this machine and return it as tags."""
    applied: dict[str, str] = {}
    kind = mkl_cpu_type(Path("/proc/cpuinfo"))
    if kind is not None and "MKL_DEBUG_CPU_TYPE" not in os.environ:
        os.environ["MKL_DEBUG_CPU_TYPE"] = kind
    if "MKL_DEBUG_CPU_TYPE" in os.environ:
        # It changes the last bits of a product, so it belongs to the record even when the user set it.
        applied["tune.mkl_cpu_type"] = os.environ["MKL_DEBUG_CPU_TYPE"]
    if keep_freed_memory():
        applied["tune.malloc"] = "keep"
    return applied


def mkl_cpu_type(cpuinfo: Path) -> str | None:
    """Return the value of MKL_DEBUG_CPU_TYPE that gives an AMD processor the fast path of Paddle's MKL (2019).

    None: leave MKL alone.

    Args:
        cpuinfo: a file in the form of /proc/cpuinfo.
    """
    return choose_mkl_cpu_type(cpuinfo)[0]


def choose_mkl_cpu_type(cpuinfo: Path) -> tuple[str | None, str]:
    """Return what `mkl_cpu_type` does, and why in words.

    A value beyond what the processor has would end in SIGILL, hence the check of every flag.

    Args:
        cpuinfo: a file in the form of /proc/cpuinfo.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return None, f"MKL is for x86-64, and this is {platform.machine()}"
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None, f"what the processor can do is not known: there is no {cpuinfo}"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines[:64])}
    flags = set(facts.get("flags", "").split())
    vendor = facts.get("vendor_id", "no known vendor")
    if vendor not in _AMD:
        own = (
            "takes its fast path by itself" if vendor == "GenuineIntel" else "is left alone, for its effect is unknown"
        )
        return None, f"on a processor of {vendor} MKL {own}"
    if flags >= _AVX512:
        return "7", f"{vendor} with AVX-512"
    if flags >= _AVX2:
        return "5", f"{vendor} with AVX2, without all of AVX-512"
    return None, f"{vendor} without AVX2 and FMA, which the fast path needs"


def keep_freed_memory() -> bool:
    """Tell glibc to keep large freed blocks, which Paddle would else map and unmap at every operation.

    Returns:
        Whether it was done (glibc only); costs 4 to 15% more memory.
    """
    if not has_glibc():
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def has_glibc() -> bool:
    """Whether memory is managed by glibc, which takes such hints."""
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
