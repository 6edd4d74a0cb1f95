"""Runs in MLflow: parameters, metrics, data, files and models. MLflow is imported when first used."""

from expkit.tracking.callback import TrackingCallback
from expkit.tracking.courier import Courier, courier_for
from expkit.tracking.opening import extend_tracker, is_recorded, open_tracker, reopen_tracker
from expkit.tracking.registry import RegisterRequest
from expkit.tracking.sinks import Sinks, VisualDLSink
from expkit.tracking.store import StoreSettings
from expkit.tracking.system import SystemMonitor, require_psutil
from expkit.tracking.text import masked
from expkit.tracking.tracker import Tracker

__all__ = [
    "Courier",
    "RegisterRequest",
    "Sinks",
    "StoreSettings",
    "SystemMonitor",
    "Tracker",
    "TrackingCallback",
    "VisualDLSink",
    "courier_for",
    "extend_tracker",
    "is_recorded",
    "masked",
    "open_tracker",
    "reopen_tracker",
    "require_psutil",
]
