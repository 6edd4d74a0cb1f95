"""Turns Hydra's composed config into plain typed values; the rest of expkit never sees Hydra."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from expkit import config_source, masking, own_code
from expkit.component import Component
from expkit.components import announced, make_components, own_modules
from expkit.errors import ConfigError, did_you_mean
from expkit.paths import ROOT_CONFIG, conf_dir
from expkit.registry import KINDS, Entry
from expkit.secret_names import MASK
from expkit.settings import (
    CheckpointSettings,
    DeviceSettings,
    ExportSettings,
    PlotSettings,
    Settings,
    SweepSettings,
    TrackingSettings,
    TrainerSettings,
    check,
    check_name,
    check_runs_dir,
)
from expkit.signature import LOADER_OPTIONS

LOADING_MODES = ("auto", "sync", "prefetch", "workers")
_VARIABLE = re.compile(r"\$\{oc\.env:(\w+)\}")
_ABSENT = object()
_SEVERAL = {kind.config_group for kind in KINDS if kind.many}
_WORDS = ("on", "off", "yes", "no")  # YAML takes them for true and false, the command line for what they are
FRAMEWORK_NODES = ("trainer", "device", "tracking", "checkpoint", "export", "plots", "sweep")


@dataclass(frozen=True)
class LoaderSettings:
    """How batches are cut from the training split, and where they are made."""

    batch_size: int
    shuffle: bool
    drop_last: bool
    repeat: int
    loading: str
    prefetch: int
    workers: int


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment, composed, resolved and checked.

    Attributes:
        choices: what was chosen in each config group: {"model": "cnn", "optimizer": "adam"}.
        overrides: what the user typed.
        resolved: the whole config as plain values, for the record.
    """

    name: str
    seed: int
    runs_dir: Path
    dataset: Component
    model: Component | None
    loss: Component | None
    optimizer: Component | None
    schedule: Component | None
    regularizer: Component | None
    learner: Component
    metrics: Mapping[str, Component]
    transforms: Mapping[str, Component]
    callbacks: Mapping[str, Component]
    loader: LoaderSettings
    trainer: TrainerSettings
    device: DeviceSettings
    tracking: TrackingSettings
    checkpoint: CheckpointSettings
    export: ExportSettings
    plots: PlotSettings
    sweep: SweepSettings
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    resolved: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """Return every choice and resolved option, flat: {"model": "cnn", "model.channels": [20, 20], ...}."""
        flat: dict[str, Any] = {}
        for key, value in self.resolved.items():
            if key not in ("runs_dir", "tracking", "plots", "sweep"):
                _flatten(key, value, flat)
        for component in (self.dataset, self.model, self.loss, self.optimizer, self.schedule, self.regularizer):
            if component is not None and announced(component.kind, component.target) is None:
                flat[f"{component.kind}.target"] = component.target
        return {**flat, **self.choices}


def register() -> None:
    """Make Hydra know our config source, schema and resolvers; safe to call again."""
    config_source.register()
    own_code.reach()
    store = ConfigStore.instance()
    store.store(name="expkit_schema", node=Settings, provider="expkit")
    if not OmegaConf.has_resolver("expkit.id"):
        # Three runs started in one second would otherwise share a folder.
        OmegaConf.register_new_resolver("expkit.id", lambda: secrets.token_hex(3), use_cache=True)
        # Hydra makes the run's folder before it calls us: a name that is none is refused while the path is made.
        OmegaConf.register_new_resolver("expkit.folder", check_name)
        OmegaConf.register_new_resolver("expkit.runs_dir", check_runs_dir)


def compose(overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Compose an experiment in a program or notebook, from the overrides of the command line.

    Example:
        >>> config = compose(["+experiment=mnist_cnn", "trainer.epochs=1"])
    """
    register()
    own_code.leave_recorded()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="expkit"):
        composed = hydra_compose(ROOT_CONFIG, overrides=list(overrides), return_hydra_config=True)
    choices = composed.hydra.runtime.choices
    OmegaConf.set_struct(composed, False)
    composed.pop("hydra")
    return parse(composed, choices=choices, overrides=overrides)


def config_values(entry: Entry) -> dict[str, Any]:
    """Return the config that a component has by itself, as plain values; "???" stands for what has no default.

    Raises:
        PluginError: it cannot be described, or a default of it cannot be a config value.
    """
    return cast(dict[str, Any], OmegaConf.to_container(config_source.schema(entry)))


def config_found(entry: Entry) -> dict[str, Any]:
    """Return the config that `model=NAME` finds, wherever it comes from, as `config_values` has it."""
    register()
    found = ConfigRepository(create_config_search_path(str(conf_dir()))).load_config(
        f"{entry.kind.config_group}/{entry.name}"
    )
    return {} if found is None else cast(dict[str, Any], OmegaConf.to_container(found.config))


def stored(
    text: str,
    *,
    choices: Mapping[str, Any],
    overrides: Sequence[str],
    changes: Sequence[str] = (),
    secrets: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> ExperimentConfig:
    """Make the `ExperimentConfig` of an earlier run from what it recorded, whatever our configs say today.

    Args:
        text: its resolved config, as YAML.
        choices: chosen option of each config group.
        overrides: what the user typed then.
        changes: "key=value" that take the place of what was recorded.
        secrets: a resolved config of the same experiment that still has what is not recorded. Without it, what is
            neither in the environment nor in `changes` stays masked.
        folder: of the run, with the text of the user's own files that it was made with; see `own_code`.

    Raises:
        ConfigError: such a file has changed, and its text is not there; or a change names no option, or gives it no
            value that it can have.
    """
    register()
    recorded = OmegaConf.create(masking.with_secrets(from_yaml(text), secrets) if secrets else text)
    for change in changes:
        key, _, value = change.partition("=")
        if OmegaConf.select(recorded, key, default=_ABSENT) is _ABSENT:
            raise ConfigError(f"{change!r}: the run has no option {key!r}.")
        OmegaConf.update(recorded, key, value if value.lower() in _WORDS else OmegaConf.create(f"x: {value}").x)
    for variable in sorted(set(_VARIABLE.findall(OmegaConf.to_yaml(recorded)))):
        if variable not in os.environ:
            recorded = OmegaConf.create(OmegaConf.to_yaml(recorded).replace(f"${{oc.env:{variable}}}", MASK))
    own_code.bring_back(cast(DictConfig, recorded).get(own_code.KEY) or {}, folder)
    return parse(cast(DictConfig, recorded), choices=choices, overrides=overrides, recorded=True)


def parse(
    composed: DictConfig, *, choices: Mapping[str, Any], overrides: Sequence[str], recorded: bool = False
) -> ExperimentConfig:
    """Turn a composed config into an `ExperimentConfig`.

    Args:
        composed: the config without Hydra's own node.
        choices: chosen option of each config group.
        overrides: what the user typed.
        recorded: whether it is that of an earlier run.

    Raises:
        ConfigError: a value is out of range, or a needed part was not chosen.
    """
    if not recorded:
        _refuse_empty(overrides)
    resolved = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    masking.remember(resolved)
    used = resolved.pop(own_code.KEY, {}) if recorded else {}
    picked = {group: str(name) for group, name in choices.items() if "hydra" not in group and name is not None}
    settings = _settings(resolved)
    components = make_components(resolved, picked, overrides, recorded=recorded)
    used = used or own_code.gather(own_modules(components))
    if used:  # another text makes it another run, as another option does
        resolved[own_code.KEY] = used
    return ExperimentConfig(
        name=settings.name,
        seed=settings.seed,
        runs_dir=Path(settings.runs_dir),
        loader=_loader(resolved["dataset"]),
        **{node: getattr(settings, node) for node in FRAMEWORK_NODES},
        **components,
        choices=picked,
        overrides=tuple(overrides),
        resolved=resolved,
    )


def _refuse_empty(overrides: Sequence[str]) -> None:
    """Refuse `export=[]` and `~export`: to Hydra they choose nothing, and then the defaults hold, which do export."""
    for override in overrides:
        key, _, choice = override.partition("=")
        group = key.lstrip("+~")
        if group in FRAMEWORK_NODES and (choice.replace(" ", "") == "[]" or (key[0] == "~" and not choice)):
            none = (conf_dir() / group / "none.yaml").is_file()
            wanted = f"To do without, write {group}=none." if none else "Leave it out of the command for that."
            raise ConfigError(f"{override}: this chooses no {group}, and then its defaults hold. {wanted}")


def sweep_settings(node: DictConfig) -> SweepSettings:
    """Return the options of a sweep as a whole, which needs no experiment to be composed.

    Raises:
        ConfigError: a value is out of range.
    """
    made = cast(SweepSettings, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SweepSettings), node)))
    check(Settings(sweep=made))
    return made


def _settings(resolved: Mapping[str, Any]) -> Settings:
    unknown = [name for name in resolved if name not in Settings.__dataclass_fields__]
    if unknown:
        near = did_you_mean(unknown[0], Settings.__dataclass_fields__)
        raise ConfigError(f"there is no option {unknown[0]!r}.{near} `python -m expkit --help` shows what there is.")
    own = {key: resolved[key] for key in (*FRAMEWORK_NODES, "name", "seed", "runs_dir") if key in resolved}
    settings = cast(Settings, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), own)))
    check(settings)
    return settings


def to_yaml(values: Mapping[str, Any] | Sequence[str]) -> str:
    """Write plain values as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(values))  # type: ignore[call-overload]


def from_yaml(text: str) -> Any:
    """Read YAML as plain values.

    Raises:
        ValueError: it is none.
    """
    try:
        return OmegaConf.to_container(OmegaConf.create(text))
    except Exception as error:
        raise ValueError(f"no YAML ({error})") from error


def _loader(node: Any) -> LoaderSettings:
    values = {option.name: option.default for option in LOADER_OPTIONS}
    if isinstance(node, Mapping):
        values.update({k: v for k, v in node.items() if k in values})
    for name in ("batch_size", "repeat", "prefetch", "workers"):
        if not isinstance(values[name], int) or values[name] < 1:
            raise ConfigError(f"dataset.{name}={values[name]}: must be a whole number, at least 1.")
    if values["loading"] not in LOADING_MODES:
        raise ConfigError(f"dataset.loading={values['loading']}: must be one of {', '.join(LOADING_MODES)}.")
    return LoaderSettings(**{**values, "shuffle": bool(values["shuffle"]), "drop_last": bool(values["drop_last"])})


def _flatten(prefix: str, value: Any, into: dict[str, Any]) -> None:
    if not isinstance(value, Mapping):
        into[prefix] = value
        return
    for key, inner in value.items():
        if key != "_target_":
            _flatten(f"{prefix}.{key}", inner, into)
        elif prefix.count(".") > (prefix.partition(".")[0] in _SEVERAL):  # a class among the options of a component
            into[f"{prefix}.target"] = inner
