"""What a sweep wants of a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional  # OmegaConf reads these annotations, on Python 3.10 too

from expkit.errors import ConfigError
from expkit.settings import DeviceSettings, SweepSettings


@dataclass
class ClusterSettings:
    """Options of `hydra/launcher=expkit_ray`; see conf/hydra/launcher/expkit_ray.yaml."""

    address: Optional[str] = None  # noqa: UP045 - as above
    num_cpus: Optional[float] = None  # noqa: UP045
    num_gpus: float = 0
    resources: dict[str, float] = field(default_factory=dict)
    runtime_env: dict[str, Any] = field(default_factory=dict)

    def needs(self, threads: int) -> dict[str, float]:
        """Return what a job needs in Ray's terms: {"CPU": 1.0, "GPU": 1.0}.

        Args:
            threads: most `device.threads` of the jobs.
        """
        cpus = float(threads) if self.num_cpus is None else self.num_cpus
        wanted = {"CPU": cpus, "GPU": self.num_gpus, **self.resources}
        return {name: amount for name, amount in wanted.items() if amount > 0}


def check(settings: ClusterSettings, sweep: SweepSettings, device: DeviceSettings) -> None:
    """Refuse what a cluster cannot give.

    Args:
        settings: of the launcher.
        sweep: node `sweep` of the config.
        device: what a job asks for.

    Raises:
        ConfigError: an option is out of range, or means nothing here.
    """
    amounts = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
    amounts.update({f"resources.{name}": amount for name, amount in settings.resources.items()})
    for key, amount in amounts.items():
        if amount is not None and not (amount >= 0 and math.isfinite(amount)):
            raise ConfigError(f"hydra.launcher.{key}={amount}: must be at least 0.")
    if not settings.needs(device.threads):
        raise ConfigError("hydra.launcher.num_cpus=0: a job needs something, or any number of them would fit a node.")
    if settings.num_gpus > 1:
        raise ConfigError(
            f"hydra.launcher.num_gpus={settings.num_gpus:g}: a job trains on one GPU. 1, or a part of one: 0.5."
        )
    if sweep.devices != "auto" or sweep.jobs_per_device != 1:
        key, value = (
            ("devices", sweep.devices) if sweep.devices != "auto" else ("jobs_per_device", sweep.jobs_per_device)
        )
        raise ConfigError(
            f"sweep.{key}={value}: it is about the devices of one machine. On a Ray cluster say what a job needs: "
            "hydra.launcher.num_gpus=1 for a GPU, 0.5 for two jobs on each."
        )
    if device.name == "gpu" and not settings.num_gpus:
        raise ConfigError("device=gpu: Ray gives a job only what it is asked for. Add hydra.launcher.num_gpus=1.")
    if device.index and device.name != "cpu":
        raise ConfigError(f"device.index={device.index}: a job sees the one GPU that Ray gives it, as number 0.")


def fitting(there: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """Return how many jobs fit what a node has.

    Args:
        there: resources of the node, by name.
        needs: of a job.
    """
    return min(math.floor(there.get(name, 0.0) / amount + 1e-9) for name, amount in needs.items())
