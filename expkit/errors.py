"""The errors that a user can cause. Each says what happened, the value, what is allowed, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExpkitError(Exception):
    """Base of every error that is the user's to mend; shown without a traceback, exit code 2."""

    exit_code = 2


class ConfigError(ExpkitError):
    """A config value, key or choice that cannot be used."""


class DataError(ExpkitError):
    """Data that is missing, damaged or not what it claims to be."""


class PluginError(ExpkitError):
    """A plugin that is unknown, broken, or in conflict with another."""


class CallbackError(PluginError):
    """A callback that failed and that its run needs."""

    exit_code = 1


class DeviceError(ExpkitError):
    """A device that this machine or this build of Paddle does not have."""


class DeviceLostError(ExpkitError):
    """A device that trained with others, and has died, failed or does not answer."""

    exit_code = 1


class CheckpointError(ExpkitError):
    """A checkpoint that cannot be written, found or trusted."""


class ExportError(ExpkitError):
    """A model that cannot be exported, or whose export does not agree with it."""


class TrackingError(ExpkitError):
    """A tracking store that cannot be reached or written."""


class RunLockedError(ExpkitError):
    """A run that another process is training."""


class RunNotFoundError(ExpkitError):
    """A run that is named on the command line and does not exist."""


class TrainingStoppedError(ExpkitError):
    """Training that cannot go on, for example because the loss is not finite."""

    exit_code = 1


class NotFiniteError(TrainingStoppedError):
    """A loss, a gradient or a weight that is NaN or infinite.

    Args:
        text: one sentence without its full stop, such as "the loss is nan".
        kind: what it is: "loss", "gradient", "weight", or "validation" for the loss of a validation.
        undone: whether whoever raises it is as it was before the step.
    """

    def __init__(self, text: str, *, kind: str = "loss", undone: bool = True) -> None:
        super().__init__(f"{text}.")
        self.text, self.kind, self.undone = text, kind, undone


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something; the name of the error's class where none does."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'adam'?`` for a near miss, else an empty string.

    Args:
        name: what the user typed.
        known: what would have been right.
    """
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
