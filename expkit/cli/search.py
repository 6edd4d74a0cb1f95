"""The options of `hydra/sweeper=expkit_optuna`, from Hydra's config to plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Optional  # OmegaConf reads these annotations, on Python 3.10 too

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.errors import ConfigError, did_you_mean, first_line
from expkit.sweeping.search.options import NODE, SearchOptions


@dataclass
class OptunaSettings:
    """Types of what conf/hydra/sweeper/expkit_optuna.yaml documents."""

    sampler: str = "tpe"
    sampler_options: dict[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    pruner_options: dict[str, Any] = field(default_factory=dict)
    trials: Optional[int] = 20  # noqa: UP045 - as above
    seed: Optional[int] = 0  # noqa: UP045
    objectives: Any = None
    direction: Optional[str] = None  # noqa: UP045
    params: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    without: Any = None
    storage: Optional[str] = None  # noqa: UP045
    study: str = "expkit"
    timeout: Optional[float] = None  # noqa: UP045
    max_failures: int = 5


@dataclass(frozen=True)
class SearchSettings:
    """How to search, and what, as it was written.

    Attributes:
        options: how.
        params: what, in Hydra's words; but for what is left out.
        conditions: which of it exists for some choices only.
    """

    options: SearchOptions
    params: Mapping[str, Any]
    conditions: Mapping[str, Any]


def read_settings(node: DictConfig | Mapping[str, Any]) -> SearchSettings:
    """Read `hydra.sweeper`.

    Raises:
        ConfigError: an option does not exist, or has a value that it cannot have.
    """
    given = dict(OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node)  # type: ignore[arg-type]
    given.pop("_target_", None)
    known = [one.name for one in fields(OptunaSettings)]
    for name in map(str, given):
        if name not in known:
            raise ConfigError(
                f"{NODE}.{name}: there is no such option.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
    for name in ("sampler_options", "pruner_options", "params", "conditions"):
        if given.get(name) is None:
            given.pop(name, None)
        elif not isinstance(given[name], dict):
            raise ConfigError(f"{NODE}.{name}={given[name]}: must be names with values, {{name: value}}.")
    try:
        settings: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(OptunaSettings), given))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{NODE}.{error.full_key}: {first_line(error)}.") from error
    values = {one.name: getattr(settings, one.name) for one in fields(SearchOptions)}
    values["objectives"] = _objectives(settings.objectives)
    without = _left_out(settings.without, settings.params)
    kept = [{key: one[key] for key in one if key not in without} for one in (settings.params, settings.conditions)]
    return SearchSettings(SearchOptions(**values), *kept)


def _left_out(given: Any, params: Mapping[str, Any]) -> list[str]:
    """Read which options of the file are not to be searched: Hydra cannot take away a key with a dot in its name."""
    names = [given] if isinstance(given, str) else given or []
    for name in names if isinstance(names, list) else [names]:
        if name not in params:
            near = did_you_mean(name, params) if isinstance(name, str) else ""
            raise ConfigError(
                f"{NODE}.without={name}: no file searches that.{near} It takes names of {NODE}.params: "
                f"[{', '.join(params)}]."
            )
    return list(names)


def _objectives(given: Any) -> dict[str, str | None]:
    """Read a name, a list of names, or names with directions."""
    named = given if isinstance(given, dict) else dict.fromkeys([given] if isinstance(given, str) else given or ())
    wrong = [one for pair in named.items() for one in pair if not (one is None or isinstance(one, str))]
    if wrong or None in named:
        raise ConfigError(
            f"{NODE}.objectives={given}: write names of metrics, [valid/accuracy,seconds], or names with directions, "
            "{valid/accuracy: maximize, seconds: minimize}."
        )
    return {str(name): direction for name, direction in named.items()}
