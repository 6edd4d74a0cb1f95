"""A component as it was chosen: its class or function, its options, and how it is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from expkit.errors import ConfigError, ExpkitError


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
        except ExpkitError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.kind} {self.name!r} refused its options {dict(self.options)}: {error}. "
                f"`python -m expkit show {self.kind}/{self.name}` explains them; EXPKIT_DEBUG=1 shows the traceback."
            ) from error

    def _parameters(self, bound: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(bound).parameters
        except TypeError:  # a class of an extension module may have no signature
            return {}
        except ValueError as error:  # the options do not fit
            raise ConfigError(
                f"{self.kind} {self.name!r}: {self.target} does not take the options {dict(self.options)}."
            ) from error
