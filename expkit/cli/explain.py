"""Turns the errors of Hydra and OmegaConf into one clear message.

What each mistake raises was found by making it (tests/unit/test_explain.py does so again), not by reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import MarkedYAMLError

from expkit.cli.explain_choices import refused_composition, unknown_choice, unreadable_override
from expkit.cli.explain_common import COMMAND
from expkit.cli.explain_values import (
    missing_value,
    refused_override,
    unknown_key,
    unreadable_reference,
    unresolved,
    wrong_value,
)
from expkit.errors import ExpkitError, first_line


def explain(error: BaseException) -> str | None:
    """Return what went wrong, the value, what is allowed and what to do next.

    Args:
        error: anything that was raised.

    Returns:
        None if it is not an error of a config or of a command line.
    """
    user_error = user_error_in(error)
    if user_error is not None:
        return str(user_error)
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}, is not YAML: {error.problem}."
    if isinstance(error, ValueError) and _raised_by_hydra(error):
        return _wrong_usage(error)
    if not _is_config_error(error):
        return None
    for link in _links(error):
        for kind, handler in _HANDLERS:
            message = handler(link, error) if isinstance(link, kind) else None
            if message:
                return message
    return None if component_failure(error) is not None else _plain(error)


def component_failure(error: BaseException) -> BaseException | None:
    """Return what a component raised while Hydra built it, or None if it is not that."""
    is_failure = isinstance(error, InstantiationException) and not _is_config_error(error.__cause__)
    return error.__cause__ if is_failure else None


def user_error_in(error: BaseException) -> ExpkitError | None:
    """Return the expkit error that Hydra wrapped, if there is one."""
    return next((link for link in _links(error) if isinstance(link, ExpkitError)), None)


def _links(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, as long as it is Hydra or OmegaConf that wraps."""
    link: BaseException | None = error
    while link is not None:
        yield link
        if not _is_config_error(link):
            return
        link = link.__cause__ or link.__context__


def _is_config_error(error: BaseException | None) -> bool:
    return isinstance(error, (HydraException, OmegaConfBaseException))


def _raised_by_hydra(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__", "")).startswith("hydra.")


def _plain(error: BaseException) -> str:
    """Say what Hydra says, without its advice and its search path."""
    said = str(error.__cause__) if not str(error) and error.__cause__ else str(error)
    lines = re.split(r"\n\s*(?:See http|To append|Config search path|full_key:)", said)[0].splitlines()
    return " ".join(line.strip() for line in lines if line.strip()) or type(error).__name__


def _wrong_usage(error: BaseException) -> str:
    given = first_line(error).rpartition("Got ")[2]
    if "Config group override must be a string" not in str(error):
        return _plain(error)
    if given == "NoneType":
        return "a config group cannot be set to null. To leave it out, write ~ before it, as in ~schedule."
    return (
        f"a config group is set to something that is not a name ({given}). Choose by name, such as model=cnn."
        f" `{COMMAND} list` shows all names."
    )


def _instantiation(error: InstantiationException, _: BaseException) -> str | None:
    node = re.search(r"full_key: (\S+)", str(error))
    where = f"{node[1]}: " if node else ""
    cause = error.__cause__
    target = re.search(r"Error locating target '([^']+)'", str(error))
    if target and cause is not None:
        reason = cause.__cause__ or cause
        return f"{where}{target[1]!r} cannot be imported: {first_line(reason)}. Correct its _target_."
    called = re.search(r"Error in call to target '([^']+)'", str(error))
    if called and isinstance(cause, TypeError) and _raised_by_hydra(cause):
        return f"{where}{called[1]} does not take these options: {cause}."
    return None


_HANDLERS: tuple[tuple[type[BaseException], Callable[[Any, BaseException], str | None]], ...] = (
    (MissingConfigException, unknown_choice),
    (OverrideParseException, unreadable_override),
    (InstantiationException, _instantiation),
    (HydraException, refused_composition),
    (MissingMandatoryValue, missing_value),
    (InterpolationResolutionError, unresolved),
    (GrammarParseError, unreadable_reference),
    (ValidationError, wrong_value),
    (ConfigKeyError, unknown_key),
    (ConfigAttributeError, unknown_key),
    (OmegaConfBaseException, refused_override),
)
