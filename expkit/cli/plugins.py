"""Makes Hydra know our launchers and sweepers, and have them by default; what is not chosen is not imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.plugin import Plugin
from hydra.plugins.sweeper import Sweeper

_PLUGINS: dict[str, tuple[type[Plugin], str]] = {
    "LocalLauncher": (Launcher, "expkit.cli.launcher"),
    "RayLauncher": (Launcher, "expkit.cli.ray_launcher"),
    "GridSweeper": (Sweeper, "expkit.cli.sweeper"),
    "OptunaSweeper": (Sweeper, "expkit.cli.search_sweeper"),
}
_DEFAULTS = {"launcher": "expkit_local", "sweeper": "expkit_grid"}


def register() -> None:
    """Tell Hydra of our launchers and sweepers; doing so again changes nothing.

    Hydra takes plugins from packages below `hydra_plugins` only, and imports all of these for each program that uses
    it. Ours are of use to expkit alone, so that it makes such a module when it starts rather than installing one.
    """
    plugins = Plugins.instance()  # looks for the installed ones
    package = _package()
    module = sys.modules.setdefault("hydra_plugins.expkit", ModuleType("hydra_plugins.expkit"))
    setattr(package, "expkit", module)  # noqa: B010 - mypy knows of no such module
    for name, (kind, where) in _PLUGINS.items():
        if not hasattr(module, name):
            setattr(module, name, _stand_in(name, kind, where))
        plugins.register(getattr(module, name))


@contextmanager
def chosen_by_default() -> Iterator[None]:
    """Within this context Hydra's defaults are our launcher and sweeper.

    A line `override hydra/launcher` in expkit.yaml would go before that of a file in conf/experiment or conf/search,
    and make it mean nothing. Hydra's own `basic` ones stay what they are.
    """
    store = ConfigStore.instance()
    hydras = store.load("hydra/config.yaml")
    ours = store.load("hydra/config.yaml").node
    for entry in ours.defaults:
        entry.update({group: name for group, name in _DEFAULTS.items() if group in entry})
    store.store(group="hydra", name="config", node=ours, provider=hydras.provider)
    try:
        yield
    finally:  # others may use Hydra in this process
        store.store(group="hydra", name="config", node=hydras.node, provider=hydras.provider)


def _stand_in(name: str, kind: type[Plugin], where: str) -> type[Plugin]:
    """Return a class that Hydra takes for the plugin; to make one of it makes one of the plugin itself."""

    def make(_: type[Plugin], *arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(where), name)(*arguments, **options)

    made: Any = type(name, (kind,), {"__module__": "hydra_plugins.expkit", "__new__": make})
    made.__abstractmethods__ = frozenset()  # Hydra takes no abstract classes
    return made  # type: ignore[no-any-return]


def _package() -> ModuleType:
    try:
        return importlib.import_module("hydra_plugins")
    except ImportError:  # none is installed
        return sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
