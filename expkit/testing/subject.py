"""A component under examination: how it is built, on which data, and what the checks have made of it so far."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from expkit import component as built
from expkit.api import ConfigError, DataError, DataSpec
from expkit.errors import did_you_mean
from expkit.paddle_import import quiet_import
from expkit.registry import Entry, kind_named
from expkit.source import find_definition, near_modules
from expkit.testing.examples import trial_specs
from expkit.testing.promises import check_names
from expkit.testing.report import NO_ERROR, Broken, Problem, broken

T = TypeVar("T")
Component = Callable[..., Any]
SPECLESS = ("dataset", "optimizer", "schedule", "regularizer")
"""Kinds that are told nothing of the data; each of their promises is checked once."""


class NotTried(Exception):  # noqa: N818 - no error of a program: something else has to be there first
    """Nothing can be said before something else is there; the message says what."""


class Subject:
    """A component under examination.

    Args:
        kind: such as "model".
        component: its class or function; None where an entry point is to be followed when it is needed.
        entry: the entry point that announces it, if there is one.
        given: what a component has made, where it is not known itself.
        options: to build it with, in place of its defaults.
        specs: data to try; `trial_specs()` when None.
        skip: names of promises that do not apply, each with the reason.

    Raises:
        ConfigError: `skip` names no promise of the kind, or gives no reason.
    """

    def __init__(
        self,
        kind: str,
        component: Component | None,
        *,
        entry: Entry | None = None,
        given: Any = None,
        options: Mapping[str, Any] | None = None,
        specs: Iterable[DataSpec] | None = None,
        skip: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.entry = kind_named(kind), entry
        self.options = dict(options or {})
        while isinstance(component, functools.partial):
            self.options = {**component.keywords, **self.options}
            component = component.func
        self.given = given
        self._component = component if given is None else lambda: given
        self.specs: Sequence[DataSpec] = tuple(trial_specs() if specs is None else specs)
        self._skip = dict(skip or {})
        check_names(self.kind.name, self._skip, whose=f"skip of {self.label}")
        self._made: dict[Hashable, Any] = {}

    @property
    def component(self) -> Component:
        """Its class or function.

        Raises:
            Broken: it cannot be imported, or is neither class nor function.
        """
        if self._component is None:
            assert self.entry is not None
            self._component = _imported(self.entry)
        if not callable(self._component):
            broken(expected="a class or function", got=repr(self._component), mend="name one in the entry point")
        return self._component

    @property
    def skip(self) -> Mapping[str, str]:
        """Promises that do not apply, with the reasons: as was asked for, and as the component says in `exempt`.

        Raises:
            ConfigError: `exempt` names no promise of the kind, or gives no reason.
        """
        exempt = getattr(self._component, "exempt", None) or {}
        check_names(self.kind.name, exempt, whose=f"exempt of {self.label}")
        return {**exempt, **self._skip}

    @property
    def name(self) -> str:
        """Name by which it is chosen; without an entry point, that of its class or function."""
        if self.entry is not None:
            return self.entry.name
        if self.given is not None:
            return str(getattr(getattr(self.given, "spec", None), "name", type(self.given).__name__))
        return str(getattr(self._component, "__qualname__", None) or type(self._component).__qualname__)

    @property
    def label(self) -> str:
        """Kind, name and options: "model/tiny(hidden=4)"."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.kind.name}/{self.name}{f'({options})' if options else ''}"

    @property
    def owner(self) -> str:
        """Name and version of the distribution that announces it."""
        return f"{self.entry.distribution} {self.entry.version}" if self.entry is not None else ""

    @property
    def where(self) -> str:
        """Where it is defined: "file:line", from the current folder where it is below that."""
        if self.given is not None:
            return f"a {type(self.given).__name__} that was given"
        try:
            if self._component is None and self.entry is not None:
                definition = find_definition(self.entry.module, self.entry.attribute)
                return f"{_near(definition.path)}:{definition.node.lineno}" if definition else self.entry.target
            path = inspect.getsourcefile(self.component) or inspect.getfile(self.component)
            return f"{_near(Path(path))}:{inspect.getsourcelines(self.component)[1]}"
        except Exception:  # noqa: BLE001 - of a compiled, computed or broken component; the name has to do
            return self.entry.target if self.entry is not None else self.name

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of its signature that are options, by name.

        Raises:
            Broken: its signature cannot be read.
        """
        try:
            found = inspect.signature(self.component).parameters
        except (TypeError, ValueError) as error:
            broken(expected="a signature, which becomes the config options", got=str(error), mend="write it in Python")
        return {name: parameter for name, parameter in found.items() if name not in self.kind.supplied}

    def build(self, options: Mapping[str, Any] | None = None, **supplied: Any) -> Any:
        """Build it as the framework does.

        Args:
            options: more of them, before its own.
            supplied: what the framework knows; it is given what it asks for by name.

        Raises:
            ConfigError: it refuses its options or the data.
        """
        chosen, component = {**self.options, **(options or {})}, self.component
        target = f"{getattr(component, '__module__', '')}.{self.name.rpartition('.')[2]}"
        bind = functools.partial(functools.partial, component, **chosen)
        return built.Component(self.kind.name, self.name, target, chosen, bind).build(**supplied)

    def make(self, spec: DataSpec | None = None, options: Mapping[str, Any] | None = None) -> Any:
        """Build it with all that the framework would supply, made up where it does not come from the spec."""
        from expkit.testing.toys import supplied

        return self.build(options, **supplied(self.kind.name, spec))

    def fitting(self) -> list[DataSpec]:
        """Return the specs that it does not refuse with a `ConfigError`; kinds that are told no spec have none.

        Raises:
            Broken: it refuses all of them, or fails while it is built.
            NotTried: it needs options, or data that are not here.
        """
        found: list[DataSpec] = self.memo("fitting", self._fitting)
        return found

    def _fitting(self) -> list[DataSpec]:
        lacking = [n for n, p in self.parameters.items() if p.default is p.empty and n not in self.options]
        lacking = [n for n in lacking if self.parameters[n].kind not in (_VARIADIC)]
        if lacking:
            raise NotTried(f"it needs a value for {', '.join(lacking)}: give the check one that works")
        if self.kind.name in SPECLESS:
            try:
                self.memo(("made", None), self.make)
            except DataError as error:
                raise NotTried(f"its data are not here: {error}") from error
            except ConfigError as error:
                raise NotTried(f"it needs other options: {error}") from error
            return []
        accepted: list[DataSpec] = []
        refusals: dict[str, list[str]] = {}
        for spec in self.specs:
            try:
                self.memo(("made", spec.name), functools.partial(self.make, spec))
                accepted.append(spec)
            except ConfigError as error:
                refusals.setdefault(str(error), []).append(spec.name)
        if not accepted:
            told = [f"{', '.join(names)}: {text}" for text, names in refusals.items()]
            got = " / ".join(told) if len(told) > 1 or len(self.specs) == 1 else f"of each: {''.join(refusals)}"
            broken(expected="it accepts at least one of the specs", got=got, mend=_OWN_SPECS)
        return accepted

    def made(self, spec: DataSpec | None = None) -> Any:
        """Return one that was built; for checks that do not change it."""
        self.fitting()
        return self.memo(("made", spec.name if spec else None), functools.partial(self.make, spec))

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made under a key, or failed there, and make it the first time.

        Only the subject that was used last remembers, so that the models of a whole distribution are not all held.
        """
        if _latest[0] is not self:
            if _latest[0] is not None:
                _latest[0]._made.clear()
            _latest[0] = self
        if key not in self._made:
            try:
                self._made[key] = (make(), None)
            except Exception as error:  # noqa: BLE001 - of a plugin's code; raised again, for everyone who asks
                self._made[key] = (None, error)
        found, failure = self._made[key]
        if failure is not None:
            raise failure
        value: T = found
        return value

    def problem(self, error: BaseException) -> Problem:
        """Describe an error that a check did not expect, with the place in the component's own code."""
        return Problem(NO_ERROR, f"{type(error).__name__}: {_briefly(error)}", place=self._place(error))

    def _place(self, error: BaseException) -> str:
        """Return the innermost line of the component's own package; nothing where there is none."""
        package = str(getattr(self._component, "__module__", "") or "").partition(".")[0]
        frames = list(traceback.walk_tb(error.__traceback__))
        own = [f for f in frames if str(f[0].f_globals.get("__name__", "")).partition(".")[0] == package]
        if not own:
            return ""
        frame, line = own[-1]
        return f"{_near(Path(frame.f_code.co_filename))}:{line}"


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_OWN_SPECS = "accept one of them, or give the check data that it is made for: specs=[...]"
_latest: list[Subject | None] = [None]


def _near(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _briefly(error: BaseException) -> str:
    """Return the message of an error without Paddle's notes on what a developer of Paddle would look at."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("[Hint:", "[operator <"))) or str(error)


def _imported(entry: Entry) -> Any:
    try:
        with quiet_import():
            found = importlib.import_module(entry.module)
        for name in entry.attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # an import runs its author's code
        mend = f"see where: python -c 'import {entry.module}'"
        if isinstance(error, AttributeError) and entry.module in sys.modules:
            near = did_you_mean(entry.attribute, [name for name in vars(found) if not name.startswith("_")])
            mend = f"correct the entry point.{near} Then install it again (pip install -e .)"
        elif isinstance(error, ModuleNotFoundError) and entry.module.startswith(str(error.name)):
            near = did_you_mean(entry.module, near_modules(entry.module))
            mend = f"correct the entry point.{near} Then install it again (pip install -e .)"
        problem = Problem(f"{entry.target} can be imported", f"{type(error).__name__}: {error}", mend)
        raise Broken(problem) from error
    return found
