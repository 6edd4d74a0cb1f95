"""Paddle: which build it is, whether it can be imported, and what to do where it cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from expkit.doctor.children import PADDLE
from expkit.doctor.examination import Scene
from expkit.findings import Finding

_CPU = "python -m pip install 'paddlepaddle>=3.3,<3.4'"
_GPU = "README, 'On a GPU'"
_CAUSES = (
    (
        "SIGILL",
        "This processor lacks what Paddle's build needs (AVX). Use another machine, or build Paddle for this one",
    ),
    ("SIGKILL", "Memory has run out, most likely: end what else uses it (top), or give the container more"),
    ("GLIBC", "The operating system is older than this build of Paddle needs. Use a newer one, or a container"),
    ("libcu", f"The libraries of CUDA are not found. Install them, or the CPU build: {_CPU}"),
    ("libnccl", f"The libraries of CUDA are not found. Install them, or the CPU build: {_CPU}"),
    ("libgomp", "A system library is missing: apt-get install libgomp1"),
    ("longer than", "A slow network disk? Run it again; else install the environment on a local disk"),
)


def builds() -> dict[str, str]:
    """Return name and version of each build of Paddle that is installed."""
    found = {}
    for one in distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        if name == "paddlepaddle" or name.startswith("paddlepaddle-"):
            found[name] = one.version
    return dict(sorted(found.items()))


def paddle(scene: Scene) -> Sequence[Finding]:
    """Say which Paddle there is, and whether it can be imported."""
    there = builds()
    told = ", ".join(f"{name} {version}" for name, version in there.items())
    if len(there) > 1:
        return [
            Finding(
                "FAIL",
                "paddle",
                f"several builds are installed over one another: {told}",
                f"python -m pip uninstall -y {' '.join(there)}; then install the one that you want: {_CPU}, or for a "
                f"GPU: {_GPU}",
            )
        ]
    answer = scene.child(PADDLE).answer("paddle")
    if answer.error:
        return [Finding("FAIL", "paddle", f"{told or 'it'} cannot be imported: {answer.error}", _advice(answer.error))]
    value = answer.value
    kind = f"build for CUDA {value['cuda']}" if value["cuda"] else "build for CPUs"
    place = "" if there else f" from {value['file']}"
    return [Finding("ok", "paddle", f"{told or value['version']}{place}, {kind}, imported in {answer.seconds:.1f} s")]


def _advice(error: str) -> str:
    own = _shadow()
    if own is not None:
        return f"{own} is imported in its place. Rename it."
    for sign, cause in _CAUSES:
        if sign in error:
            return cause
    if "No module named 'paddle'" in error:
        return f"{_CPU}; for a GPU: {_GPU}"
    return f"See the whole error: python -c 'import paddle'. Often a fresh install helps: {_CPU} --force-reinstall"


def _shadow() -> Path | None:
    """Return the file or folder of the user that has Paddle's name, if it is found first."""
    try:
        spec = importlib.util.find_spec("paddle")
    except ValueError:
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin if origin.parent == Path.cwd() or origin.parent.parent == Path.cwd() else None
