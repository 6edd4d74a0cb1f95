"""What a sweep wants of a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional  # OmegaConf reads these annotations, on Python 3.10 too

from expkit.errors import ConfigError
from expkit.settings import SweepSettings
from expkit.sweeping.needs import Need, Width, widest


@dataclass
class ClusterSettings:
    """Options of `hydra/launcher=expkit_ray`; see conf/hydra/launcher/expkit_ray.yaml."""

    address: Optional[str] = None  # noqa: UP045 - as above
    num_cpus: Optional[float] = None  # noqa: UP045
    num_gpus: float = 0
    resources: dict[str, float] = field(default_factory=dict)
    runtime_env: dict[str, Any] = field(default_factory=dict)

    def needs(self, width: Width) -> dict[str, float]:
        """Return what a job needs in Ray's terms: {"CPU": 1.0, "GPU": 1.0}.

        Args:
            width: of the widest job; where GPUs are asked for, it gets one for each of its devices.
        """
        cpus = float(width.cores) if self.num_cpus is None else self.num_cpus
        gpus = max(self.num_gpus, float(width.gpus)) if self.num_gpus >= 1 else self.num_gpus
        wanted = {"CPU": cpus, "GPU": gpus, **self.resources}
        return {name: amount for name, amount in wanted.items() if amount > 0}


def check(settings: ClusterSettings, sweep: SweepSettings, needs: Sequence[Need]) -> None:
    """Refuse what a cluster cannot give.

    Args:
        settings: of the launcher.
        sweep: node `sweep` of the config.
        needs: what the jobs ask for.

    Raises:
        ConfigError: an option is out of range, or means nothing here.
    """
    amounts = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
    amounts.update({f"resources.{name}": amount for name, amount in settings.resources.items()})
    for key, amount in amounts.items():
        if amount is not None and not (amount >= 0 and math.isfinite(amount)):
            raise ConfigError(f"hydra.launcher.{key}={amount}: must be at least 0.")
    width = widest(needs)
    if not settings.needs(width):
        raise ConfigError("hydra.launcher.num_cpus=0: a job needs something, or any number of them would fit a node.")
    _check_gpus(settings.num_gpus, width)
    if sweep.devices != "auto" or sweep.jobs_per_device != 1:
        key, value = (
            ("devices", sweep.devices) if sweep.devices != "auto" else ("jobs_per_device", sweep.jobs_per_device)
        )
        raise ConfigError(
            f"sweep.{key}={value}: it is about the devices of one machine. On a Ray cluster say what a job needs: "
            "hydra.launcher.num_gpus=1 for a GPU, 0.5 for two jobs on each."
        )
    for need in needs:
        if need.device == "gpu" and not settings.num_gpus:
            raise ConfigError("device=gpu: Ray gives a job only what it is asked for. Add hydra.launcher.num_gpus=1.")
        if need.index and need.device != "cpu":
            raise ConfigError(f"device.index={need.index}: a job sees the GPU that Ray gives it alone, as number 0.")


def _check_gpus(asked: float, width: Width) -> None:
    key = f"hydra.launcher.num_gpus={asked:g}"
    if asked > 1 and asked != width.gpus:
        many = "one GPU" if width.gpus <= 1 else f"trainer.devices={width.gpus} GPUs"
        raise ConfigError(
            f"{key}: a job trains on {many}. Write 1, for a GPU for each of its devices, or a part of one: 0.5."
        )
    if 0 < asked < 1 and width.gpus > 1:
        raise ConfigError(f"{key}: each of the trainer.devices={width.gpus} devices takes a whole GPU. Write 1.")


def fitting(there: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """Return how many jobs fit what a node has.

    Args:
        there: resources of the node, by name.
        needs: of a job.
    """
    return min(math.floor(there.get(name, 0.0) / amount + 1e-9) for name, amount in needs.items())
