"""What the machine and the process of a run do meanwhile: ``system/...``, in a tab of its own in MLflow's page."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Protocol

from expkit.errors import ConfigError
from expkit.tracking.store import import_mlflow

PREFIX = "system/"
END_SECONDS = 5.0
"""Longest wait for the last point."""

logger = logging.getLogger("expkit.tracking")


class _Monitor(Protocol):
    """What MLflow's monitors are: they collect, and give the mean of what they collected."""

    def collect_metrics(self) -> None: ...

    def aggregate_metrics(self) -> dict[str, float]: ...

    def clear_metrics(self) -> None: ...


class SystemMonitor:
    """Records, while its context lasts, what is used of the machine; a thread measures.

    CPU, memory, network and GPUs are measured by MLflow's own monitors and have their names. The disk is that of the
    run's folder, where MLflow would look at that of "/". The process is this one with all that it has started.

    Args:
        log: takes the values and the x axis: seconds since the run began, whatever interrupted it since.
        folder: of the run.
        began: when the run began, in seconds since 1970.
        every: seconds from one point to the next.

    Raises:
        ConfigError: psutil is not installed.
    """

    def __init__(
        self, log: Callable[[Mapping[str, float], int], None], folder: Path, *, began: float, every: float
    ) -> None:
        require_psutil()
        self._log, self._folder, self._every = log, folder, every
        self._offset = max(0.0, time.time() - began) - time.monotonic()
        self._last = -1
        self._over = Event()
        self._thread = Thread(target=self._run, name="expkit-system", daemon=True)

    def __enter__(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Measure once more, so that a short run has a point, and end."""
        self._over.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            monitors = [*_of_mlflow(), _OfRun(self._folder)]
            for monitor in monitors:  # what they say the first time is of no time at all
                monitor.collect_metrics()
                monitor.clear_metrics()
            while not self._over.wait(self._every):
                self._measure(monitors)
            self._measure(monitors)
        except Exception as error:  # noqa: BLE001 - whatever a driver or a system raises, training goes on
            logger.warning("The system metrics end here: %s: %s", type(error).__name__, error)

    def _measure(self, monitors: list[_Monitor]) -> None:
        step = round(time.monotonic() + self._offset)
        if step <= self._last:
            return
        self._last = step
        values: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            values.update(monitor.aggregate_metrics())
            monitor.clear_metrics()
        self._log({f"{PREFIX}{name}": value for name, value in values.items()}, step)


class _OfRun:
    """Measures this process with its children, and the disk of a folder.

    Args:
        folder: on that disk.
    """

    def __init__(self, folder: Path) -> None:
        self._psutil = require_psutil()
        self._self = self._psutil.Process()
        self._folder = folder
        self._cpu: dict[int, float] = {}
        self._at = time.monotonic()
        self._values: dict[str, float] = {}

    def collect_metrics(self) -> None:
        """Measure."""
        cpu, memory = self._of_processes()
        now = time.monotonic()
        used = sum(max(0.0, seconds - self._cpu.get(pid, 0.0)) for pid, seconds in cpu.items())
        disk = self._psutil.disk_usage(str(self._folder))
        self._values = {
            "process_cpu_utilization_percentage": round(100 * used / max(now - self._at, 1e-3), 1),
            "process_memory_usage_megabytes": round(memory / 1e6, 1),
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": round(disk.used / 1e6, 1),
            "disk_available_megabytes": round(disk.free / 1e6, 1),
        }
        self._cpu, self._at = cpu, now

    def aggregate_metrics(self) -> dict[str, float]:
        """Return what was measured last."""
        return self._values

    def clear_metrics(self) -> None:
        """Forget it."""
        self._values = {}

    def _of_processes(self) -> tuple[dict[int, float], float]:
        """Return the CPU seconds of each process, and the bytes of memory of all."""
        cpu: dict[int, float] = {}
        memory = 0.0
        for process in [self._self, *self._self.children(recursive=True)]:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                cpu[process.pid] = times.user + times.system
            except self._psutil.Error:  # it has ended meanwhile
                continue
        return cpu, memory


def _of_mlflow() -> list[_Monitor]:
    """Return MLflow's monitors, that of the GPUs only where there are any."""
    import_mlflow()
    package = "mlflow.system_metrics.metrics"
    monitors: list[_Monitor] = [
        importlib.import_module(f"{package}.cpu_monitor").CPUMonitor(),
        importlib.import_module(f"{package}.network_monitor").NetworkMonitor(),
    ]
    try:
        monitors.append(importlib.import_module(f"{package}.gpu_monitor").GPUMonitor())
    except Exception as error:  # noqa: BLE001 - no GPU, no driver, or no package that asks it
        logger.debug("No GPU is watched: %s", error)
    return monitors


def require_psutil() -> Any:
    """Return the package that measures.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("psutil")
    except ImportError as error:
        raise ConfigError(
            f"tracking.system_metrics=true needs the package psutil, which cannot be imported ({error}). "
            "Install it: pip install 'expkit[system]'."
        ) from error
