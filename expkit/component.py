"""A component as it was chosen: its class or function, its options, and how it is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from expkit.errors import ConfigError


@dataclass(frozen=True)
class Component:
    """A chosen component that is not built yet.

    Attributes:
        kind: "model".
        name: what was chosen: "cnn", or the class of a `_target_`.
        target: "package.module.Class".
        options: its keyword arguments.
        factory: resolves the target and binds the options; raises `ConfigError` when it cannot.
    """

    kind: str
    name: str
    target: str
    options: Mapping[str, Any]
    factory: Callable[[], Callable[..., Any]]

    def build(self, **supplied: Any) -> Any:
        """Build it, handing over those of the supplied values that its signature names.

        Raises:
            ConfigError: its options do not fit its signature, or it refuses their values.
        """
        bound = self.factory()
        accepted = self._parameters(bound)
        given = {name: value for name, value in supplied.items() if name in accepted}
        try:
            return bound(**given)
        except TypeError as error:
            hidden = [name for name in supplied if f"'{name}'" in str(error) and name not in accepted]
            if not hidden or "missing" not in str(error) or not _takes_anything(accepted):
                raise
            raise ConfigError(
                f"{self.kind} {self.name!r}: {self.target} takes *args or **kwargs, so that nothing tells that it "
                f"wants {' and '.join(hidden)}, which expkit supplies by name. Name it in its __init__: "
                f"def __init__(self, {', '.join(hidden)}, ...)."
            ) from error
        except ValueError as error:
            if not self._raised_by_itself(error):
                raise  # a bug somewhere below is no mistake in the options
            raise ConfigError(
                f"{self.kind} {self.name!r} refused its options {dict(self.options)}: {error}. "
                f"`python -m expkit show {self.kind}/{self.name}` explains them; EXPKIT_DEBUG=1 shows the traceback."
            ) from error

    def default(self, parameter: str) -> Any:
        """Return the default of a parameter in the component's signature; None when it has none.

        Raises:
            ConfigError: the component cannot be loaded.
        """
        found = self._parameters(self.factory()).get(parameter)
        return None if found is None or found.default is inspect.Parameter.empty else found.default

    def _raised_by_itself(self, error: ValueError) -> bool:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and trace.tb_frame.f_globals.get("__name__") == self.target.rpartition(".")[0]

    def _parameters(self, bound: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(bound).parameters
        except TypeError:  # a class of an extension module may have no signature
            return {}
        except ValueError as error:  # the options do not fit
            raise ConfigError(
                f"{self.kind} {self.name!r}: {self.target} does not take the options {dict(self.options)}."
            ) from error


def _takes_anything(accepted: Mapping[str, inspect.Parameter]) -> bool:
    return any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in accepted.values())
