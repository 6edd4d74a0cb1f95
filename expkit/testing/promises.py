"""What each kind of component promises: the list that the checks, the reports and the docs are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from expkit.errors import ConfigError, did_you_mean
from expkit.registry import KINDS, kind_named

Each = Literal["component", "spec", "option"]
Needs = Literal["nothing", "import", "build"]


@dataclass(frozen=True)
class Promise:
    """One promise of a kind of component, and how it is checked.

    Attributes:
        kind: such as "model".
        name: short and unique within the kind, such as "alone": what a skip and a failure name.
        text: what is promised, in one sentence.
        each: what it is checked on: the "component" once, each "spec" of data that it accepts, or each "option".
        needs: what has to work before it can be checked: "nothing", the "import" of the component, or to "build" it.
    """

    kind: str
    name: str
    text: str
    each: Each
    needs: Needs
    check: Callable[..., None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.name


_PROMISES: dict[str, dict[str, Promise]] = {kind.name: {} for kind in KINDS}

Check = Callable[..., None]


def promise(
    *kinds: str, name: str, text: str, each: Each = "component", needs: Needs = "build"
) -> Callable[[Check], Check]:
    """Add a promise to kinds; the function that is decorated checks it.

    It is called with a `Subject` and, where `each` says so, with a spec or the name of an option, and raises (see
    `expkit.testing.report.require`) where the promise is broken.

    Args:
        kinds: names; all kinds where there are none.
        name: of the promise.
        text: what is promised, in one sentence.
        each: what it is checked on.
        needs: what has to work before.
    """

    def add(check: Check) -> Check:
        for kind in kinds or _PROMISES:
            if name in _PROMISES[kind]:
                raise ValueError(f"{kind} has two promises {name!r}")
            _PROMISES[kind][name] = Promise(kind, name, text, each, needs, check)
        return check

    return add


def promises(kind: str) -> tuple[Promise, ...]:
    """Return what components of a kind promise, in the order in which it is checked.

    Args:
        kind: "model", "models" or "expkit.models".

    Raises:
        PluginError: there is no such kind.

    Example:
        >>> [promise.name for promise in promises("model")]  # doctest: +ELLIPSIS
        ['described', ...]
    """
    return tuple(sorted(_PROMISES[kind_named(kind).name].values(), key=_place))


def _place(promise: Promise) -> int:
    """What is needed for others comes first; what takes long to read, where it fails, last."""
    if promise.name in ("builds", "refuses"):
        return 2 if promise.name == "builds" else 4
    return {"nothing": 0, "import": 1, "build": 3}[promise.needs]


def check_names(kind: str, skip: Mapping[str, Any], *, whose: str) -> None:
    """Refuse a skip that names no promise, or gives no reason.

    Raises:
        ConfigError: it does.
    """
    known = [promise.name for promise in promises(kind)]
    for name, reason in skip.items():
        if name not in known:
            raise ConfigError(
                f"{whose}: no promise of a {kind} is called {name!r}.{did_you_mean(name, known)} "
                f"Promises of a {kind}: {', '.join(known)}."
            )
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"{whose}: the promise {name!r} is skipped without a reason, which readers need.")
