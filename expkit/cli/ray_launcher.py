"""Hydra's launcher for sweeps on a Ray cluster: the same sweeps as on one machine, with the nodes' places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.cli.launcher import SweepLauncher
from expkit.errors import ConfigError, first_line
from expkit.settings import TrackingSettings
from expkit.sweeping.cluster.pool import RayPool
from expkit.sweeping.cluster.settings import ClusterSettings, check
from expkit.sweeping.jobs import Executor
from expkit.sweeping.needs import Need, widest


class RayLauncher(SweepLauncher):
    """Runs each job in a process of its own on a node of a Ray cluster; see conf/hydra/launcher/expkit_ray.yaml.

    Args:
        options: of the launcher, see `ClusterSettings`.

    Raises:
        ConfigError: one has a value that it cannot have.
    """

    def __init__(self, **options: Any) -> None:
        try:
            made = OmegaConf.merge(OmegaConf.structured(ClusterSettings), options)
        except OmegaConfBaseException as error:
            raise ConfigError(f"hydra.launcher.{error.full_key}: {first_line(error)}") from error
        self._cluster = cast(ClusterSettings, OmegaConf.to_object(made))

    def executor(self, needs: Sequence[Need], jobs: int | None) -> Executor:
        """Return the places of the cluster, whose size is that of the cluster.

        Raises:
            ConfigError: Ray is not installed, there is no such cluster, or jobs could not run there.
        """
        check(self._cluster, self.settings, needs)
        tracking = OmegaConf.merge(OmegaConf.structured(TrackingSettings), self.config.tracking)
        return RayPool(
            self._cluster,
            self.settings,
            widest(needs),
            Path(self.config.runs_dir),
            cast(TrackingSettings, OmegaConf.to_object(tracking)),
            self._console,
        )
