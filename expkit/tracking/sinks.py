"""Where metric points go: to the tracking store, and to VisualDL where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from expkit.errors import ConfigError


class Sink(Protocol):
    """Takes metric points."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a step."""


class Sinks:
    """Hands points to several sinks.

    Args:
        sinks: in this order.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a step."""
        for sink in self._sinks:
            sink.log_metrics(values, step)


class VisualDLSink:
    """Writes the scalars of a run for VisualDL, Paddle's own viewer.

    Args:
        folder: of the log files; each start of a run adds one.

    Raises:
        ConfigError: VisualDL is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        try:
            from visualdl import LogWriter
        except ImportError as error:
            raise ConfigError(
                f"tracking.visualdl=true needs the package visualdl, which cannot be imported ({error}). "
                "Install it: pip install 'expkit[visualdl]'."
            ) from error
        self._make = LogWriter

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a step; the first ones make the folder."""
        if self._writer is None:
            self._writer = self._make(logdir=str(self._folder))
        for name, value in values.items():
            self._writer.add_scalar(tag=name, value=float(value), step=step)

    def close(self) -> None:
        """Write what waits; later calls do nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
