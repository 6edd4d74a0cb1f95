"""Which settings make Paddle faster on this processor (`device.tune`), and why; docs/design/0003-cpu-tuning.md."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

from expkit.cpu_tuning import choose_mkl_cpu_type, has_glibc
from expkit.doctor.examination import Scene
from expkit.findings import Finding

_VARIABLE = "MKL_DEBUG_CPU_TYPE"


def mkl(scene: Scene) -> Sequence[Finding]:
    """Say whether MKL is told to take its fast path, and why."""
    kind, why = choose_mkl_cpu_type(scene.proc / "cpuinfo")
    own = scene.environment.get(_VARIABLE)
    if own is not None and own != kind:
        return [
            Finding(
                "warning",
                "MKL",
                f"{_VARIABLE}={own} in your environment is kept; expkit would "
                f"{f'choose {kind}' if kind else 'leave it alone'}: {why}",
                f"Unless you mean it: unset {_VARIABLE}. A value that the processor has not ends in SIGILL.",
            )
        ]
    told = f"{_VARIABLE}={kind}, its fast path: {why}" if kind else f"left alone: {why}"
    return [Finding("ok", "MKL", told)]


def malloc(scene: Scene) -> Sequence[Finding]:
    """Say whether freed memory is kept."""
    del scene
    if has_glibc():
        return [Finding("ok", "malloc", "large freed blocks are kept, not given back at every operation (glibc)")]
    libc = platform.libc_ver()[0] or sys.platform
    return [Finding("ok", "malloc", f"left alone: memory is not managed by glibc here ({libc})")]


def layers(scene: Scene) -> Sequence[Finding]:
    """Say what the learner does on every processor, and how to see what all of it is worth."""
    told = "a faster bias of Conv2D and gradient of MaxPool2D, bit for bit the same"
    more = "" if scene.measure else " (--measure says what all of it is worth here)"
    return [Finding("ok", "layers", told + more)]
