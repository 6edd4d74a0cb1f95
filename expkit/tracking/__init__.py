"""Runs in MLflow: parameters, metrics, data, files and models. MLflow is imported when first used."""

from expkit.tracking.callback import TrackingCallback
from expkit.tracking.null import NullTracker
from expkit.tracking.sinks import Sinks, VisualDLSink
from expkit.tracking.store import StoreSettings
from expkit.tracking.text import masked
from expkit.tracking.tracker import Tracker, open_tracker, reopen_tracker

__all__ = [
    "NullTracker",
    "Sinks",
    "StoreSettings",
    "Tracker",
    "TrackingCallback",
    "VisualDLSink",
    "masked",
    "open_tracker",
    "reopen_tracker",
]
