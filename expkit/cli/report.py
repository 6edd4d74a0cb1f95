"""Prints an error as one short screen and says which exit code it has."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType

from expkit import registry
from expkit.errors import ExpkitError
from expkit.masking import masked

INTERRUPTED = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE = 141  # 128 + SIGPIPE


def report(error: BaseException, what: str = "") -> int:
    """Print what went wrong on stderr; with EXPKIT_DEBUG=1 the whole traceback.

    Args:
        error: anything that was raised.
        what: what failed, where that is not the whole command.

    Returns:
        The exit code: 2 for a mistake of the user, 1 for a failure, 75 for a run that was stopped and is saved, 128 +
        signal for Ctrl-C and its like where something is lost.
    """
    if isinstance(error, KeyboardInterrupt):
        return int(getattr(error, "exit_code", INTERRUPTED))
    if isinstance(error, BrokenPipeError) and _stdout_is_gone():
        _close_quietly()
        return BROKEN_PIPE
    code, message = _explained(error)
    with contextlib.suppress(OSError):  # of stderr, which is all that is left to tell it to
        if os.environ.get("EXPKIT_DEBUG") == "1":
            sys.stderr.write(masked("".join(traceback.format_exception(error))))
        sys.stderr.write(masked(f"error: {f'{what}: ' if what else ''}{message}\n"))
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    if isinstance(error, ExpkitError):
        return error.exit_code, str(error)
    if isinstance(error, OSError) and error is getattr(sys.stdout, "failure", None):
        _close_quietly()
        return 1, f"what this command prints cannot be written: {error.strerror}."
    if "omegaconf" in sys.modules:  # else it cannot be an error of a config
        from expkit.cli.explain import component_failure, explain, user_error_in

        wrapped = user_error_in(error)
        if wrapped is not None:
            return wrapped.exit_code, str(wrapped)
        message = explain(error)
        if message is not None:
            return 2, message
        error = component_failure(error) or error
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return 1, f"{what}{_place(error)}\nEXPKIT_DEBUG=1 shows the whole traceback."


def _place(error: BaseException) -> str:
    """Name the last line of a plugin or of the user's code that the error went through."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if _is_users(Path(frame.f_code.co_filename))]
    if not frames:
        return ""
    frame, line = (own or frames)[-1]
    return f"\n  at {frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}{_component(frame)}"


def _component(frame: FrameType) -> str:
    """Say whose code a frame runs: which component's, as far as that is plain, and of which distribution."""
    module = frame.f_globals.get("__name__")
    inside = {frame.f_code.co_name, type(frame.f_locals.get("self")).__name__}
    here = [e for e in _entries() if e.module == module and not e.own]
    owners = {f"{entry.distribution} {entry.version}" for entry in here}
    named = [entry for entry in here if entry.attribute in inside]
    if len(owners) != 1:
        return ""
    what = f"{named[0].kind.name} {named[0].name!r} of " if len(named) == 1 else ""
    return f" ({what}{owners.pop()})"


def _entries() -> list[registry.Entry]:
    return [entry for kind in registry.KINDS for same in registry.entries(kind).values() for entry in same]


def _is_users(path: Path) -> bool:
    """Say whether a file belongs to a plugin or to the user, rather than to Python, a library or expkit."""
    if not path.is_file() or path.is_relative_to(Path(__file__).resolve().parents[1]):
        return False
    libraries = [Path(folder) for name, folder in sysconfig.get_paths().items() if name.endswith("lib")]
    if not any(path.is_relative_to(folder) for folder in libraries):
        return True
    plugins = {entry.module.partition(".")[0] for entry in _entries()}
    parts = set(path.with_suffix("").parts)
    return bool(plugins & parts)


def _stdout_is_gone() -> bool:
    """Say whether it was stdout that broke (`| head`) and not some connection."""
    if getattr(sys.stdout, "is_broken", False):
        return True  # what could not be written is lost, so that flushing it meets no error
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def _close_quietly() -> None:
    """Point stdout at nothing, so that Python does not complain again when it flushes at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
