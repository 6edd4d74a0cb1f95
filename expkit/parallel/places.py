"""Which devices and cores a run with several devices gets, and when that is refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from expkit import cpu_tuning
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, DeviceError
from expkit.paddle_import import import_paddle
from expkit.processes import usable_cores


def check_shares(config: ExperimentConfig) -> None:
    """Refuse what can be seen before anything is started.

    Raises:
        ConfigError: a batch has fewer samples than there are devices, or this is not Linux.
    """
    devices, size = config.trainer.devices, config.loader.batch_size
    if sys.platform != "linux":
        raise ConfigError(f"trainer.devices={devices}: several devices are there on Linux only. Use trainer.devices=1.")
    if size < devices:
        raise ConfigError(
            f"trainer.devices={devices}: dataset.batch_size={size} is the size of the whole batch, of which each "
            f"device computes a share; {devices - size} would have nothing to do. Use trainer.devices={size}, or "
            f"dataset.batch_size={devices} or more."
        )


def cores_of_each(config: ExperimentConfig) -> list[list[int]] | None:
    """Return the cores of each device; None where they are GPUs, and cores need no sharing out.

    Paddle is imported for it, and the CPU settings of the run are applied first.

    Raises:
        DeviceError: there are fewer GPUs, or cores, than the run asks for.
    """
    cpu_tuning.tune(config.device.tune)
    paddle = import_paddle()
    cuda = paddle.device.is_compiled_with_cuda()
    gpus = int(paddle.device.cuda.device_count()) if cuda else 0
    if config.device.name == "gpu" or (config.device.name == "auto" and gpus):
        if cuda:  # else `expkit.device` says that this Paddle knows no GPU
            _check_gpus(config.trainer.devices, config.device.index, gpus)
        return None
    return shared_out(usable_cores(), config.trainer.devices, config.device.threads)


def shared_out(cores: Sequence[int], devices: int, threads: int) -> list[list[int]]:
    """Share cores out among devices, to each as many.

    Args:
        cores: that this process may use.
        devices: to share them out among.
        threads: that each device computes with.

    Raises:
        DeviceError: there are fewer cores than threads.
    """
    if devices * threads > len(cores):
        each = f" of device.threads={threads}" if threads > 1 else ""
        can = len(cores) // threads
        raise DeviceError(
            f"trainer.devices={devices}: {devices} devices{each} need {devices * threads} CPU cores, and this process "
            f"may use {len(cores)}. Use trainer.devices={can or 1}{' device.threads=1' * (not can)}."
        )
    each_gets = len(cores) // devices
    return [list(cores[rank * each_gets : (rank + 1) * each_gets]) for rank in range(devices)]


def _check_gpus(devices: int, first: int, gpus: int) -> None:
    if first + devices > gpus:
        found = f"Paddle sees {gpus} GPU{'s' * (gpus != 1)}"
        start = f" from device.index={first} on" if first else ""
        raise DeviceError(
            f"trainer.devices={devices}{start}: {found}. Use trainer.devices={max(gpus - first, 1)}, and see what "
            "`nvidia-smi` and CUDA_VISIBLE_DEVICES say."
        )
