"""A Ray cluster of several nodes on this machine, as `ray start` makes it on several."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from expkit.processes import kill_group

ENVIRONMENT = {
    # A node that died is noticed within seconds, not half a minute.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Nobody else on this machine may give it work, and no token is left in the home folder.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Environment of a cluster, and of whoever gives it work: to be set before Ray is imported."""


class RayNode:
    """A node: `ray start --block` and all that it started."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", *arguments]
        command += ["--object-store-memory=100000000", f"--temp-dir={folder}"]
        self.folder = folder
        self.output = folder.with_suffix(".log")
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,
            )
        until = time.monotonic() + 60
        while b"Ray runtime started" not in self.output.read_bytes():
            assert self._process.poll() is None, self.output.read_text()
            assert time.monotonic() < until, self.output.read_text()
            time.sleep(0.1)

    def die(self) -> None:
        """Be a machine whose power is cut, as far as one process can be: the node's heart stops."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in map(int, children):
            if b"/raylet/raylet" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
                return
        raise AssertionError("the node has no raylet")

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        kill_group(self._process.pid)
        self._process.wait()


class RayCluster:
    """A head and further nodes, each with room for one job."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._nodes = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._nodes: list[RayNode] = []
        head = RayNode(folder / "0", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false")
        self._nodes.append(head)
        found = re.search(rf"ray start --address='([^']+:{port})'", head.output.read_text())
        assert found
        self.address = found[1]

    def add(self) -> RayNode:
        folder = self._folder / str(len(self._nodes))
        node = RayNode(folder, f"--address={self.address}", "--num-cpus=1")
        self._nodes.append(node)
        return node

    def stop(self) -> None:
        for node in reversed(self._nodes):
            node.stop()


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[RayCluster]:
    cluster = RayCluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()
