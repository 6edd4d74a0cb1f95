"""Runs the jobs of a sweep on a Ray cluster: on every node as many at a time as fit there, while nodes come and go."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rich.console import Console

from expkit.interrupts import StopRequests
from expkit.settings import SweepSettings, TrackingSettings
from expkit.sweeping.cluster.connection import connected
from expkit.sweeping.cluster.nodes import Nodes
from expkit.sweeping.cluster.place import FarPlace
from expkit.sweeping.cluster.settings import ClusterSettings
from expkit.sweeping.dispatch import Dispatch
from expkit.sweeping.jobs import Source, Watcher
from expkit.sweeping.needs import Width


class RayPool:
    """The `Executor` of a Ray cluster.

    Args:
        cluster: options of the launcher.
        settings: the node `sweep` of the config.
        width: of the widest job.
        runs_dir: where the folders of runs are, for all machines.
        tracking: node `tracking` of the jobs' config.
        console: where it tells of nodes that come and go; stderr by default.

    Raises:
        ConfigError: there is no such cluster, or it has no place for a job, or jobs could not run there: says why.
    """

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: SweepSettings,
        width: Width,
        runs_dir: Path,
        tracking: TrackingSettings,
        console: Console | None = None,
    ) -> None:
        self._settings = settings
        self._console = console or Console(stderr=True, highlight=False)
        self._held = contextlib.ExitStack()
        self.ray = self._held.enter_context(connected(cluster, width))
        try:
            self._nodes = Nodes(
                self.ray, cluster.needs(width), width.threads, settings, runs_dir.absolute(), self._console
            )
            self._nodes.check(tracking)
        except BaseException:
            self._held.close()
            raise

    @property
    def slots(self) -> list[str]:
        """Names of the places that run one job each at a time, as of now."""
        return [place.slot.name for place in self.places()]

    def places(self) -> list[FarPlace]:
        """Return these places."""
        return self._nodes.places()

    def run(self, source: Source, watcher: Watcher) -> None:
        """Run jobs until the source has none and all have ended; see `jobs.Executor`.

        Raises:
            Stopped: somebody asked to stop; the running jobs have saved and ended, or were killed.
        """
        nodes = self._nodes
        with StopRequests() as stop, stop.shielded():
            nodes.listen()
            dispatch = Dispatch(nodes.places, nodes.heard, self._settings, self._console, source, watcher, stop)
            try:
                dispatch.run()
            finally:
                dispatch.close()
                nodes.close()
        if stop():
            raise stop.stopped(saved=not dispatch.lost)

    def close(self) -> None:
        """Leave the cluster; one that was started for the sweep ends."""
        self._held.close()
