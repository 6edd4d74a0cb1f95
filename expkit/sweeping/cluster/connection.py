"""The way to a Ray cluster: found or started, without its noise; and what its nodes are."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.errors import ConfigError
from expkit.processes import usable_cores
from expkit.sweeping.cluster.settings import ClusterSettings
from expkit.sweeping.needs import Width

_QUIET = {
    # Ray prints what happens to its nodes and workers between the lines of whoever uses it; we tell what matters.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call must not start a cluster of its own
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a job that asked for no GPU sees none
}
_PROBE = 5.0
"""Longest wait in seconds for a cluster to take a connection; Ray itself would try for minutes."""
_OBJECTS = 100 << 20
"""Bytes of memory for objects of a cluster of our own: only reports pass through it."""


@dataclass(frozen=True)
class Node:
    """One node of a cluster.

    Attributes:
        id: of it.
        name: of its machine, with a part of the id where another node has that name.
        resources: all that it has, used or not.
    """

    id: str
    name: str
    resources: Mapping[str, float]


def import_ray() -> Any:
    """Import Ray, and make it quiet.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "hydra/launcher=expkit_ray needs Ray, which is not installed. "
            "Install it on all machines: pip install 'expkit[ray]'."
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def connected(settings: ClusterSettings, width: Width) -> Iterator[Any]:
    """Within this context Ray is connected, as a driver of its own.

    Args:
        settings: of the launcher.
        width: of the widest job.

    Yields:
        The module `ray`.

    Raises:
        ConfigError: there is no such cluster, or it is of another Ray or Python.
    """
    ray = import_ray()
    address = _address(settings)
    options: dict[str, Any] = {"address": address}
    if address == "local":
        options.update(include_dashboard=False, object_store_memory=_OBJECTS, resources=settings.resources or None)
        options.update(num_cpus=max(len(usable_cores()), width.threads))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            **options,
            runtime_env=dict(settings.runtime_env) or None,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.CRITICAL,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(_explained(address, error)) from error
    for number, handler in handlers.items():  # Ray has put its own in their place
        signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def answers(address: str) -> bool:
    """Whether the head of a cluster takes connections; Ray's own calls would wait a minute, then end this process.

    Args:
        address: HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE).close()
    except OSError:
        return False
    return True


def nodes_of(ray: Any) -> list[Node]:
    """Return the nodes that live."""
    alive = sorted((one for one in ray.nodes() if one["Alive"]), key=lambda one: str(one["NodeID"]))
    names = [str(one["NodeManagerHostname"]) for one in alive]
    return [
        Node(one["NodeID"], name if names.count(name) == 1 else f"{name}#{one['NodeID'][:4]}", one["Resources"])
        for one, name in zip(alive, names, strict=True)
    ]


def facts_of_nodes(ray: Any, nodes: Sequence[Node], token: Path, text: str) -> dict[str, Any]:
    """Begin to ask nodes for what they have, see `facts_of_machine`; returns a Ray reference for each id."""

    # A function within one travels as it is: it also answers where expkit is not installed.
    def look(file: str, holds: str) -> dict[str, Any]:
        try:
            from pathlib import Path

            from expkit.sweeping.cluster.placement import facts_of_machine
        except ImportError as error:
            return {"missing": str(error)}
        return dict(facts_of_machine(Path(file), holds))

    ask = ray.remote(look)
    return {
        node.id: ask.options(num_cpus=0, max_retries=0, scheduling_strategy=pinned(node.id)).remote(str(token), text)
        for node in nodes
    }


def pinned(node: str) -> Any:
    """Return what keeps a task or an actor on a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _address(settings: ClusterSettings) -> str:
    """Return where the cluster is; "local" for one of our own.

    Raises:
        ConfigError: nothing listens there.
    """
    address = settings.address or "auto"
    if address == "local":
        return address
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        address = os.environ["RAY_ADDRESS"]
    if address == "auto":
        return address
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and port.isdigit()):
        raise ConfigError(
            f"hydra.launcher.address={address}: must be HOST:PORT, auto (the cluster of this machine) or local (one "
            "for this sweep). Ray's own client, ray://, is not supported: start the sweep on a machine of the cluster."
        )
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE).close()
    except OSError as error:
        raise ConfigError(f"hydra.launcher.address={address}: nothing answers there: {error}. {_HOW}") from error
    return address


_HOW = (
    "Start a cluster with `ray start --head` here and `ray start --address=HOST:6379` on the other machines; or take "
    "one of this machine alone, for this sweep only: hydra.launcher.address=local."
)


def _explained(address: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if address == "auto" and isinstance(error, ConnectionError):
        return f"hydra/launcher=expkit_ray: no Ray cluster runs on this machine, and RAY_ADDRESS is not set. {_HOW}"
    if "uthenticat" in text:
        return (
            f"the cluster at {address} asks for a token that this machine does not have. Copy ~/.ray/auth_token from "
            "the machine where `ray start --head` was called, and set RAY_AUTH_MODE=token."
        )
    if "ersion mismatch" in text:
        return f"the cluster at {address} has another Ray or Python than this machine; all need the same: {text}"
    return f"Ray cannot be reached at {address}: {text}"
