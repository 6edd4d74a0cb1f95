"""Composes the many configs of a sweep faster than Hydra does one by one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException


class SweepLoader:
    """Composes as `ConfigLoader.load_sweep_config` does, and looks for files only where another option is chosen.

    Options that are set to values are applied last by Hydra, to what the chosen options of groups make. So the jobs
    that choose the same share what that is.

    Args:
        loader: of the running Hydra.
        config: what it composed of what all jobs share.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._parser = OverridesParser.create()
        self._chosen: dict[tuple[str, ...], DictConfig] = {}
        self._groups: dict[str, bool] = {}

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose one config.

        Raises:
            HydraException: it cannot be composed.
        """
        try:
            return self._quickly(overrides)
        except (HydraException, OmegaConfBaseException):  # what is wrong is said by Hydra itself
            return self._loader.load_sweep_config(self._config, list(overrides))

    def _quickly(self, overrides: Sequence[str]) -> DictConfig:
        parsed = self._parser.parse_overrides(list(overrides))
        values = [one for one in parsed if self._sets_value(one)]
        key = tuple(str(one.input_line) for one in parsed if one not in values)
        if key not in self._chosen:
            self._chosen[key] = self._loader.load_sweep_config(self._config, list(key))
        made = deepcopy(self._chosen[key])
        ConfigLoaderImpl._apply_overrides_to_config(values, made)
        own = [one for one in parsed if not one.is_hydra_override()]
        naming = made.hydra.job.config.override_dirname
        with read_write(made.hydra), open_dict(made.hydra):
            made.hydra.overrides.task = [one.input_line for one in own]
            made.hydra.job.override_dirname = get_overrides_dirname(
                overrides=own, kv_sep=naming.kv_sep, item_sep=naming.item_sep, exclude_keys=list(naming.exclude_keys)
            )
        OmegaConf.copy_cache(from_config=self._config, to_config=made)
        return made

    def _sets_value(self, override: Override) -> bool:
        name = override.key_or_group
        if override.is_hydra_override() or override.package is not None:
            return False
        if name not in self._groups:
            self._groups[name] = bool(self._loader.get_group_options(name, results_filter=None))
        return not self._groups[name]


def in_each_job(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command so that Hydra sets options of what each job chooses in the jobs alone.

    What all jobs share it composes, too, with another choice: of `optimizer=sgd,momentum optimizer.momentum=0.9` the
    second was refused there. One value to choose from is one of the job.

    Args:
        arguments: flags first.
    """
    grid = {"-m", "--multirun"} & set(arguments) and not any("search=" in one or "sweeper=" in one for one in arguments)
    if not grid:
        return list(arguments)
    try:
        parsed = {one: OverridesParser.create().parse_override(one) for one in arguments if not one.startswith("-")}
    except HydraException:  # it is said when Hydra reads them
        return list(arguments)
    groups = {one.key_or_group for one in parsed.values() if one.is_sweep_override() and "." not in one.key_or_group}
    return [
        f"{name}=choice({value})" if _is_of(parsed.get(one), groups) else one
        for one in arguments
        for name, _, value in [one.partition("=")]
    ]


def _is_of(override: Override | None, groups: set[str]) -> bool:
    if override is None or override.is_sweep_override() or override.is_delete():
        return False
    group, dot, _ = override.key_or_group.partition(".")
    return bool(dot) and group in groups
