"""Whether what runs write lies where all machines of a sweep can write it."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from expkit import registry
from expkit.errors import ConfigError
from expkit.settings import TrackingSettings
from expkit.sweeping.machine import paddle_has_gpu
from expkit.tracking import masked

_HERE_ONLY = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}
_SECONDS = 15.0
"""Longest wait for a file to appear on another machine: network file systems remember what was not there."""


def facts_of_machine(token: Path | None = None, text: str = "") -> dict[str, Any]:
    """Return what has to be the same on every machine of a sweep.

    Args:
        token: file that was just written on the machine of the command.
        text: what it holds.

    Returns:
        Of this machine: which one it is, its Python, versions of expkit, Paddle and all plugins, whether its Paddle can
        use a GPU, and whether it has that file.
    """
    return {
        "machine": _machine_id(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "versions": {**registry.distributions_of_plugins(), "Paddle": _version_of_paddle()},
        "gpu": paddle_has_gpu(),
        "sees": token is None or _sees(token, text),
    }


def differences(here: Mapping[str, Any], there: Mapping[str, Any], runs_dir: Path) -> list[str]:
    """Say what a machine has otherwise than this one, such that the jobs of a sweep cannot run there.

    Args:
        here: facts of this machine.
        there: facts of the other one, or {"missing": why} where it could not tell.
        runs_dir: for which `sees` stands.
    """
    if "missing" in there:
        return [f"expkit cannot be imported there: {there['missing']}"]
    found = []
    if here["python"] != there["python"]:
        found.append(f"Python {there['python']}, here {here['python']}")
    for name in sorted({*here["versions"], *there["versions"]}):
        one, other = here["versions"].get(name), there["versions"].get(name)
        if one != other:
            found.append(f"{name} {other or 'is not installed'}, here {one or 'it is not'}")
    if not there["sees"]:
        found.append(f"it does not have what is written to {runs_dir} here")
    return found


def check_store(tracking: TrackingSettings, runs_dir: Path, machines: Sequence[str]) -> None:
    """Refuse a tracking store that jobs on other machines cannot write to.

    Args:
        tracking: node `tracking` of the config.
        runs_dir: where the store is by default.
        machines: names of the other machines, if any.

    Raises:
        ConfigError: the store is a file, or a server that each machine would look for on itself.
    """
    if not machines or tracking.kind != "mlflow":
        return
    uri = tracking.uri or f"sqlite:///{runs_dir / 'mlflow.db'}"
    scheme, host = urlsplit(uri).scheme.partition("+")[0], urlsplit(uri).hostname
    others = ", ".join(machines[:3]) + (", ..." if len(machines) > 3 else "")
    remedy = (
        "Start a server on one of them, `mlflow server --host 0.0.0.0 --port 5000 --backend-store-uri "
        f"sqlite:///mlflow.db --artifacts-destination DIR`, and set tracking.uri=http://{socket.gethostname()}:5000, "
        "or tracking=none. See docs/cluster.md."
    )
    if scheme in ("sqlite", "file", ""):
        raise ConfigError(
            f"tracking.uri={masked(uri)}: jobs on {others} would write to this file over the network, which damages "
            "it. " + remedy
        )
    if host in _HERE_ONLY:
        raise ConfigError(f"tracking.uri={masked(uri)}: {others} would look for this server on itself. {remedy}")


def _sees(token: Path, text: str) -> bool:
    until = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError):
            if token.read_text(encoding="utf-8") == text:
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)


def _machine_id() -> str:
    """Return what two nodes on one machine have in common."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() + _network()
    return socket.gethostname()


def _network() -> str:
    """Two containers of one machine have no files in common."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - it is no path
    return ""


def _version_of_paddle() -> str:
    for name in ("paddlepaddle", "paddlepaddle-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return "?"
