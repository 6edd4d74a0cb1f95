"""What the jobs of a sweep take of a machine, and how wide a place has to be for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expkit.config import ExperimentConfig


@dataclass(frozen=True)
class Need:
    """What one job asks for.

    Attributes:
        device: `device.name`: "auto", "cpu" or "gpu".
        index: `device.index`.
        threads: `device.threads`, of each of its devices.
        devices: `trainer.devices`.
    """

    device: str = "auto"
    index: int = 0
    threads: int = 1
    devices: int = 1

    @property
    def cores(self) -> int:
        """That it computes on where it has no GPU."""
        return self.threads * self.devices


@dataclass(frozen=True)
class Width:
    """What a place has, for the widest of its jobs.

    Attributes:
        threads: most that the libraries of one process start.
        cores: of a place without a GPU.
        gpus: of a place with GPUs; 0 where no job would use one.
    """

    threads: int = 1
    cores: int = 1
    gpus: int = 1


def need_of(config: ExperimentConfig) -> Need:
    """Return what a run asks for."""
    return Need(config.device.name, config.device.index, config.device.threads, config.trainer.devices)


def widest(needs: Sequence[Need]) -> Width:
    """Return how wide the places of these jobs, at least one, have to be."""
    return Width(
        threads=max(need.threads for need in needs),
        cores=max(need.cores for need in needs),
        gpus=max(need.devices if need.device != "cpu" else 0 for need in needs),
    )
