from __future__ import annotations

import subprocess
import sys

import paddle
import pytest

from expkit import device
from expkit.errors import DeviceError


@pytest.fixture
def machine(monkeypatch):
    """Pretend that Paddle is a CPU or GPU build that sees so many GPUs."""

    def pretend(gpus, cuda=True):
        chosen = []
        monkeypatch.setattr(paddle.device, "is_compiled_with_cuda", lambda: cuda)
        monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(paddle, "set_device", chosen.append)
        return chosen

    return pretend


@pytest.mark.parametrize(
    ("name", "index", "gpus", "cuda", "wanted"),
    [
        ("auto", 0, 0, False, "cpu"),
        ("auto", 0, 0, True, "cpu"),
        ("auto", 0, 2, True, "gpu:0"),
        ("auto", 1, 2, True, "gpu:1"),
        ("gpu", 1, 2, True, "gpu:1"),
        ("cpu", 0, 2, True, "cpu"),
    ],
)
def test_the_device_that_is_there_is_used(machine, name, index, gpus, cuda, wanted):
    chosen = machine(gpus, cuda)
    assert device.select(name, index) == wanted
    assert chosen == [wanted]


@pytest.mark.parametrize(
    ("gpus", "cuda", "index", "message"),
    [
        (0, False, 0, r"device=gpu: this Paddle \(.+\) is the CPU build. Use device=cpu, or install"),
        (0, True, 0, "Paddle sees 0 GPUs. Use device=cpu"),
        (1, True, 1, "device.index=1: Paddle sees 1 GPU. Use an index below 1"),
        (4, True, 9, "device.index=9: Paddle sees 4 GPUs. Use an index below 4"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(machine, gpus, cuda, index, message):
    chosen = machine(gpus, cuda)
    with pytest.raises(DeviceError, match=message):
        device.select("gpu", index)
    assert chosen == []


def test_a_program_that_builds_graphs_gets_runs_that_compute_at_once():
    paddle.enable_static()
    try:
        device.select("cpu")
        assert paddle.in_dynamic_mode()
    finally:
        paddle.disable_static()


@pytest.mark.slow
def test_a_thread_that_imports_paddle_and_ends_leaves_it_whole():
    program = """
import threading
from expkit.paddle_import import import_paddle
from expkit.device import select
thread = threading.Thread(target=select, args=("cpu",))
thread.start()
thread.join()
assert import_paddle().in_dynamic_mode()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
