"""Reads a search space as Hydra writes sweeps: `choice(...)`, `interval(...)`, `range(...)`, `tag(log, ...)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, IntegerNode, ListConfig, OmegaConf

from expkit.errors import ConfigError, did_you_mean
from expkit.sweeping.search.options import NODE
from expkit.sweeping.search.space import Choices, Condition, Numbers, Parameter, Space, numbers


@dataclass(frozen=True)
class Wanted:
    """What a search is to try.

    Attributes:
        space: options with several values.
        fixed: overrides of all trials, as typed.
    """

    space: Space
    fixed: tuple[str, ...]


def read(
    params: Mapping[str, Any],
    conditions: Mapping[str, Any],
    typed: Sequence[str],
    config: DictConfig,
    loader: ConfigLoader | None = None,
) -> Wanted:
    """Read a search space from a file and the command line, which goes before.

    Args:
        params: `hydra.sweeper.params`.
        conditions: `hydra.sweeper.conditions`: {"optimizer.momentum": "optimizer=momentum"}.
        typed: overrides of the command line.
        config: as Hydra composed it, with its own node, without the options that are searched.
        loader: lists the options of a group, for `glob(*)`.

    Raises:
        ConfigError: a value or a condition cannot be used; nothing is to be searched.
        OverrideParseException: Hydra cannot read a value.
    """
    parser = OverridesParser.create(loader)
    from_file = [_from_file(key, value) for key, value in params.items()]
    overrides = {_bare(one): one for one in parser.parse_overrides(from_file)}
    overrides |= {_bare(one): one for one in parser.parse_overrides(list(typed))}
    fixed = {bare: one for bare, one in overrides.items() if not one.is_sweep_override()}
    searched = {bare: one for bare, one in overrides.items() if bare not in fixed}
    for bare, one in searched.items():
        if bare.partition(".")[0] in ("sweep", "runs_dir", "name", "tracking"):
            raise ConfigError(f"{one.input_line}: it is of the whole sweep, and has one value.")
    when = _conditions(parser, conditions, overrides)
    parameters = [
        Parameter(one.get_key_element(), _domain(one, bare, config), _keyed(when.get(bare, ()), searched))
        for bare, one in searched.items()
    ]
    return Wanted(Space(parameters, lambda key: _value(key, fixed, config)), tuple(map(_text, fixed.values())))


def as_text(value: Any) -> str:
    """Write a plain value as it is typed on the command line."""
    return str(Override._get_value_element_as_str(value))


def _from_file(key: str, value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise ConfigError(
            f"{NODE}.params.{key}={value}: write choice(...) for several values, or a list that is one value in "
            f"quotes: {key}: '{as_text(value)}'."
        )
    return f"{key}={value if isinstance(value, str) else as_text(value)}"


def _bare(override: Override) -> str:
    return override.get_key_element().lstrip("+~")


def _text(override: Override) -> str:
    if override.is_delete():
        return override.input_line or override.get_key_element()
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _domain(override: Override, bare: str, config: DictConfig) -> Choices | Numbers:
    key, value = override.get_key_element(), override.value()
    tags: set[str] = getattr(value, "tags", set())
    unknown = set(tags) - {"log"}
    if unknown:
        raise ConfigError(
            f"{key}: tag({', '.join(sorted(unknown))}, ...) means nothing to a search; tag(log, ...) does."
        )
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None and high is not None
        whole = isinstance(low, int) and isinstance(high, int)
        if not whole and isinstance(_node(bare, config), IntegerNode):
            ends = f"{low:g},{high:g}"
            log = f"tag(log,int(interval({ends})))" if tags else f"int(interval({ends}))"
            raise ConfigError(f"{key}=interval({ends}): {bare} is a whole number. Write {log}.")
        return numbers(key, low, high, step=None if not whole or tags else 1, log=bool(tags), whole=whole)
    if isinstance(value, RangeSweep):
        return _range(key, value, log=bool(tags))
    if tags:
        raise ConfigError(f"{key}: tag(log, ...) needs numbers from one to another: tag(log,interval(1e-4,1e-1)).")
    found = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not found:
        raise ConfigError(f"{override.input_line!r} fits no option of {bare}.")
    return Choices(found)


def _range(key: str, value: RangeSweep, *, log: bool) -> Choices | Numbers:
    found = sorted(value.range())
    if not found:
        raise ConfigError(
            f"{key}: range({value.start},{value.stop},{value.step}) is empty; its stop is not part of it."
        )
    if len(found) == 1:
        return Choices((str(found[0]),))
    whole = all(isinstance(one, int) for one in found)
    return numbers(key, found[0], found[-1], step=abs(value.step), log=log, whole=whole)


def _conditions(
    parser: OverridesParser, conditions: Mapping[str, Any], known: Iterable[str]
) -> dict[str, tuple[Condition, ...]]:
    found = {}
    names = list(known)
    for key, texts in conditions.items():
        bare = str(key).lstrip("+")
        if bare not in names:
            raise ConfigError(
                f"{NODE}.conditions: {key!r} is not searched, so that nothing can depend on it."
                f"{did_you_mean(bare, names)} Searched are {', '.join(names)}."
            )
        several = texts if isinstance(texts, list) else [texts]
        found[bare] = tuple(_condition(parser, str(key), text) for text in several)
    return found


def _condition(parser: OverridesParser, key: str, text: Any) -> Condition:
    if not isinstance(text, str) or "=" not in text:
        raise ConfigError(
            f"{NODE}.conditions.{key}={text}: write what has to be chosen, such as optimizer=momentum, or "
            "optimizer=momentum,nadam for either, or a list of such for all at once."
        )
    (one,) = parser.parse_overrides([text])
    values = one.sweep_string_iterator() if one.is_discrete_sweep() else [one.get_value_element_as_str()]
    return Condition(_bare(one), tuple(values))


def _keyed(conditions: Iterable[Condition], searched: Mapping[str, Override]) -> tuple[Condition, ...]:
    """Name options in conditions as the parameters are named, with their plus."""
    return tuple(
        Condition(searched[one.key].get_key_element() if one.key in searched else one.key, one.values)
        for one in conditions
    )


def _value(key: str, fixed: Mapping[str, Override], config: DictConfig) -> str | None:
    if key in fixed:
        return "" if fixed[key].is_delete() else fixed[key].get_value_element_as_str()
    choices = config.hydra.runtime.choices if "hydra" in config else {}
    if key in choices:
        return str(choices[key])
    value = OmegaConf.select(config, key, default=None)
    if value is None:
        return None
    plain: Any = OmegaConf.to_container(value) if isinstance(value, (DictConfig, ListConfig)) else value
    return as_text(plain)


def _node(key: str, config: DictConfig) -> Any:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return node._get_node(name) if isinstance(node, DictConfig) and name in node else None
