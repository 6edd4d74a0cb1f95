"""Gives Hydra one config option a component (scheme ``expkit://``), made from its signature.

``model=cnn`` finds the entry point "cnn" of the group "expkit.models" and answers with a typed, closed
config: the `_target_` for Hydra's `instantiate` and the options that `signature.describe` finds. Names come
from metadata alone; only a component that is chosen is looked at.
"""

from __future__ import annotations

import copyreg
import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, cast

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit import own_code, registry
from expkit.conf_folders import distribution_folders, user_conf_dir
from expkit.errors import ConfigError, PluginError, did_you_mean, first_line
from expkit.registry import Entry, Kind
from expkit.signature import REQUIRED, Computed, Option, describe

SCHEME = "expkit"


def register() -> None:
    """Tell Hydra about the config source and the search path; doing so again changes nothing."""
    plugins = Plugins.instance()
    plugins.register(ExpkitSource)
    plugins.register(ExpkitSearchPath)


def schema(entry: Entry) -> DictConfig:
    """Return the typed, closed config of a component.

    Raises:
        PluginError: it cannot be described, or a default of it cannot be a config value.
    """
    try:
        config = OmegaConf.structured(_schema_class(entry))
    except OmegaConfBaseException as error:
        raise PluginError(
            f"{entry.kind.name} {entry.name!r} of {entry.distribution} {entry.version} has an option that "
            f"cannot be configured: {first_line(error)} ({error.full_key}). Its default has to be "
            "None, a number, string, boolean, list or dict that fits its annotation."
        ) from error
    assert isinstance(config, DictConfig)
    for name in config:
        value = config._get_node(name)
        if isinstance(value, DictConfig):
            OmegaConf.set_struct(value, False)  # the options are closed; what is in one that is a dict is the user's
    return config


def complete(entry: Entry, where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class that was named by its `_target_`: checked as those of any component, with defaults.

    Args:
        entry: the component.
        where: its node in the config: "model".
        options: that were given.

    Raises:
        PluginError: it cannot be described.
        ConfigError: it has no such option, a value has the wrong type, or one that it needs is not given.
    """
    made, further = schema(entry), {}
    described = describe(entry)
    types = {option.name: option.type_text for option in described.options}
    for name, value in options.items():
        if name in types:
            try:
                made[name] = value
            except OmegaConfBaseException as error:
                told = f"it must be {types[name]}" if types[name] else first_line(error)
                raise ConfigError(f"{where}.{name}={value} has the wrong type: {told}.") from error
        elif described.takes_any:
            further[name] = value
        else:
            raise ConfigError(
                f"{where}.{name}: {entry.kind.name} {entry.name!r} has no option {name!r}.{did_you_mean(name, types)} "
                f"Options: {', '.join(types) or 'none'}."
            )
    lacking = next((str(name) for name in made if OmegaConf.is_missing(made, name)), None)
    if lacking is not None:
        raise ConfigError(f"{where}.{lacking} has no value, and {entry.kind.name} {entry.name!r} needs one.")
    return {**cast(dict[str, Any], OmegaConf.to_container(made)), **further}


class ExpkitSource(ConfigSource):
    """Hydra's view of all announced components: groups are kinds, configs are components."""

    # Hydra passes these parameters by name.

    @staticmethod
    def scheme() -> str:
        """Return "expkit"."""
        return SCHEME

    def available(self) -> bool:
        """Say that this source is always there."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Say whether a path names a kind."""
        return config_path.strip("/") in ("", *_kinds())

    def is_config(self, config_path: str) -> bool:
        """Say whether anyone announces a component of this path; it may yet prove unusable when loaded."""
        kind, name = _split(config_path)
        return kind is not None and _found(kind, name)

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the config of one component.

        Raises:
            PluginError: it is broken, or two distributions announce it.
        """
        kind, name = _split(config_path)
        if kind is None or not _found(kind, name):
            raise ConfigLoadError(f"Config not found : {config_path}")
        own = registry.by_path(kind, name)
        node = own_code.component_name(name.rpartition(".")[2]) if own else name  # a dot would begin another node
        package = f"{kind.config_group}.{node}" if kind.many else None
        return ConfigResult(
            provider=self.provider,
            path=f"{SCHEME}://{self.path}",
            config=schema(own or registry.find(kind, name)),
            header={"package": package},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of kinds (at the root) or of components (in a kind)."""
        path = config_path.strip("/")
        if path == "":
            return sorted(_kinds()) if results_filter != ObjectType.CONFIG else []
        kind = _kinds().get(path)
        return sorted(registry.entries(kind)) if kind and results_filter != ObjectType.GROUP else []


class ExpkitSearchPath(SearchPathPlugin):
    """Where configs are looked for: the user's ./conf, ours, other distributions', then components."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put our folders around the main one."""
        own = user_conf_dir()
        if own is not None:
            search_path.prepend("user", f"file://{own}")
        for folder in distribution_folders():  # as files: Hydra would import a package to look into pkg://
            search_path.append(folder.owner, f"file://{folder.path}")
        search_path.append(SCHEME, f"{SCHEME}://plugins")


def _found(kind: Kind, name: str) -> bool:
    return name in registry.entries(kind) or registry.by_path(kind, name) is not None


def _kinds() -> dict[str, Kind]:
    return {kind.config_group: kind for kind in registry.KINDS}


def _split(config_path: str) -> tuple[Kind | None, str]:
    group, _, name = config_path.strip("/").removesuffix(".yaml").rpartition("/")
    return _kinds().get(group), name


class _SchemaType(type):
    """Type of the generated dataclasses, so that a config that holds one can be sent to another process."""

    entry: Entry


class _Schema(metaclass=_SchemaType):
    """Base of the generated dataclasses."""


def _schema_class(entry: Entry) -> _SchemaType:
    fields: list[Any] = [("_target_", str, dataclasses.field(default=entry.python_path))]
    options = describe(entry, run=not _completes_words()).options
    fields += [(option.name, option.type, _field(option)) for option in options]
    name = entry.attribute.rpartition(".")[2]
    made = cast(_SchemaType, dataclasses.make_dataclass(name, fields, bases=(_Schema,)))
    made.entry = entry
    return made


def _completes_words() -> bool:
    """Say whether a shell asks for words: then names of options are wanted, at once, and no values."""
    return not {"-sc", "--shell-completion"}.isdisjoint(sys.argv)


def _field(option: Option) -> Any:
    default = MISSING if option.default is REQUIRED or isinstance(option.default, Computed) else option.default
    return dataclasses.field(default_factory=lambda: default)


def _reduce(made: _SchemaType) -> str | tuple[Any, ...]:
    """Pickle a generated class as the call that makes it anew, and their base by its name."""
    return "_Schema" if made is _Schema else (_schema_class, (made.entry,))


copyreg.pickle(_SchemaType, _reduce)
