"""Keeps a callback that fails from taking the run with it, unless the run needs it; see `Callback.role`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from expkit import registry
from expkit.api import Callback, ConfigError, TrainingStoppedError
from expkit.component import Component
from expkit.errors import CallbackError, PluginError, first_line
from expkit.events import EVENTS, ROLES, overrides
from expkit.masking import masked
from expkit.runlog import log


@dataclass(frozen=True)
class Failure:
    """What a callback failed with.

    Attributes:
        callback: its name and whose it is: "beep of acme 1.2.0 (acme.beep.Beep)".
        event: of which it was told, or what it was asked for: "on_epoch_end".
        place: where training was: "after epoch 3, step 120"; empty where that is not known.
        error: kind and text of what it raised, on one line.
    """

    callback: str
    event: str
    place: str
    error: str

    def __str__(self) -> str:
        """Return it as a sentence without its full stop."""
        return f"callback {self.callback} failed in {self.event}{f' {self.place}' if self.place else ''}: {self.error}"


class Guarded(Callback):
    """A callback of the config as the trainer sees it: its errors name it, and end the run or only itself.

    It has those methods only that the callback itself overrides, so that it costs nothing to tell it of the others.

    Args:
        name: as it was chosen.
        inner: the callback.
        owner: whose it is.

    Raises:
        PluginError: its role is none.

    Attributes:
        failure: why it was switched off; None as long as it is not.
    """

    def __init__(self, name: str, inner: Any, owner: str) -> None:
        role = getattr(inner, "role", "observer")
        if role not in ROLES:
            raise PluginError(f"callback {name!r}{owner} has role={role!r}, which must be {' or '.join(ROLES)}.")
        self.name, self.role, self._owner, self._inner = name, role, owner, inner
        self.failure: Failure | None = None
        for event in EVENTS:
            if overrides(inner, event):
                setattr(self, event, partial(self._call, event))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the callback; nothing where it is switched off."""
        return dict(self._call("state_dict") or {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the callback its state."""
        self._call("load_state_dict", state)

    def _call(self, method: str, *arguments: Any) -> Any:
        if self.failure is not None:
            return None
        try:
            return getattr(self._inner, method)(*arguments)
        except (ConfigError, TrainingStoppedError):
            raise  # it says by these that the run is to end, and why
        except Exception as error:
            failure = Failure(f"{self.name}{self._owner}", method, _place(arguments), _told(error))
            if self.role == "essential":
                log.info("%s", failure, exc_info=error)
                raise CallbackError(
                    f"{failure}. It is essential, so that the run ends. EXPKIT_DEBUG=1 shows the traceback."
                ) from error
            self._switch_off(failure, error)
            return None

    def _switch_off(self, failure: Failure, error: Exception) -> None:
        self.failure = failure
        for event in EVENTS:
            vars(self).pop(event, None)
        log.warning("%s. It is switched off, and training goes on without it; its traceback is in run.log.", failure)
        log.info("callback %s:", self.name, exc_info=error)


def guarded(chosen: Mapping[str, Component], spec: Any) -> dict[str, Callback]:
    """Build callbacks and guard each.

    Args:
        chosen: by name, in the order in which they are told.
        spec: of the data.

    Raises:
        ExpkitError: one cannot be built.
    """
    found: dict[str, Callback] = {}
    for name, component in chosen.items():
        built = component.build(spec=spec)
        found[name] = Guarded(name, built, registry.owner_of(component.kind, component.target))
    return found


def failures(callbacks: Mapping[str, Callback]) -> list[Failure]:
    """Return why callbacks were switched off."""
    return [one.failure for one in callbacks.values() if isinstance(one, Guarded) and one.failure is not None]


def _place(arguments: tuple[Any, ...]) -> str:
    event = arguments[0] if arguments else None
    epoch, step = getattr(event, "epoch", None), getattr(event, "step", None)
    if epoch is None:
        return ""
    return f"in epoch {epoch}" + (f", step {step}" if step is not None else "")


def _told(error: Exception) -> str:
    return masked(f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__)
