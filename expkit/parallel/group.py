"""Processes that add up tensors: a group of `paddle.distributed`, gloo on the CPU and NCCL on GPUs.

Why a group is made here and not by `paddle.distributed.init_parallel_env`: that makes one in the life of a process, but
a process may train several runs (a notebook, a test). Its rendezvous is open to the whole network. And the port is
chosen before somebody listens there, so that another program may take it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expkit.errors import DeviceError

HOST = "127.0.0.1"
_TRIES = 5
_SECONDS = 60
"""How long processes wait for each other at the rendezvous."""
_BIND_TO_DEVICE = 25
"""SO_BINDTODEVICE of Linux, which Python names on Linux only."""
_numbers = itertools.count(7000)  # apart from the groups that a user's own code may make, which count from 0


class Rendezvous:
    """Where the processes of a group find each other: a store in the process of rank 0, on a port of its own.

    Attributes:
        port: on 127.0.0.1.
        number: of the group, which no other in this process has.
    """

    def __init__(self) -> None:
        self.store, self.port = _open_store()
        self.number = next(_numbers)


class Group:
    """Adds up tensors of several processes. All of them have to call the same, in the same order.

    Args:
        store: that of the rendezvous, or a connection to it.
        rank: of this process.
        size: number of processes.
        number: of the group.
        device: as Paddle calls it; "cpu" or "gpu:1".
    """

    def __init__(self, store: Any, *, rank: int, size: int, number: int, device: str) -> None:
        import paddle
        from paddle.distributed.collective import _new_process_group_impl
        from paddle.distributed.communication.group import Group as PaddleGroup

        kind, _, index = device.partition(":")
        self._gpu, name = kind == "gpu", f"expkit-{number}"
        with _environment(rank):
            if self._gpu:
                paddle.base.core.CommContextManager.set_device_id(int(index))
            group = _new_process_group_impl(
                "nccl" if self._gpu else "gloo", store, rank, size, name, None, group_id=number
            )
            self._group = PaddleGroup(rank, number, list(range(size)), pg=group, name=name)
            one = paddle.ones([1])
            self._add_up(one)  # NCCL connects at its first use
        if one.item() != size:
            raise DeviceError(f"the {size} devices cannot talk to each other: 1 from each adds up to {one.item():g}.")

    def mean(self, tensors: Sequence[Any], weight: float) -> list[Any]:
        """Return the weighted mean of each tensor over all processes, the same to the last bit in all of them.

        Args:
            tensors: dense, of the same shapes and dtypes in all processes.
            weight: of those of this process; not all weights may be 0.
        """
        means: list[Any] = [None] * len(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            for place, mean in zip(chosen, self._mean([tensors[p] for p in chosen], weight), strict=True):
                means[place] = mean
        return means

    def _mean(self, tensors: Sequence[Any], weight: float) -> list[Any]:
        """As above for one dtype: one buffer, which has the weight at its end, goes through the network."""
        import paddle

        with paddle.no_grad():
            one = paddle.ones([1], tensors[0].dtype)
            flat = paddle.concat([*(tensor.detach().reshape([-1]) for tensor in tensors), one])
            flat.scale_(weight)
            self._add_up(flat)
            *parts, _ = (flat / flat[-1:]).split([*(tensor.size for tensor in tensors), 1])
            return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _add_up(self, tensor: Any) -> None:
        import paddle

        paddle.distributed.all_reduce(tensor, group=self._group)
        if self._gpu:  # so that waiting for the others ends in here, where it is watched
            paddle.device.synchronize()


def connect(port: int) -> Any:
    """Return a connection to the store of a rendezvous."""
    import paddle

    # A store waits for as many to come as it is told. Told of one, neither end waits: a pipe says who is there.
    return paddle.base.core.TCPStore(HOST, port, False, 1, _SECONDS)


def _open_store() -> tuple[Any, int]:
    import paddle

    for last in (*[False] * (_TRIES - 1), True):
        with socket.socket() as found:
            found.bind((HOST, 0))
            port = found.getsockname()[1]
        try:
            store = paddle.base.core.TCPStore(HOST, port, True, 1, _SECONDS)
        except (RuntimeError, ValueError) as error:  # another program was faster
            if last:
                raise DeviceError(f"trainer.devices: no port of {HOST} can be opened: {error}") from error
            continue
        _keep_local(port)
        return store, port
    raise AssertionError  # the last try returns or raises


def _keep_local(port: int) -> None:
    """Close a port that this process listens on to all but this machine; Paddle opens it on all networks."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as found:
                listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and found.family == socket.AF_INET and found.getsockname()[1] == port:
                    found.setsockopt(socket.SOL_SOCKET, _BIND_TO_DEVICE, b"lo\0")


@contextmanager
def _environment(rank: int) -> Iterator[None]:
    """Within this context the environment says what Paddle, gloo and NCCL ask it; what a launcher said comes back."""
    wanted = {"PADDLE_TRAINER_ID": str(rank), "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
