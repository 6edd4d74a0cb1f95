"""From the nodes of a config to components that can be built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from expkit import own_code, registry
from expkit.component import Component
from expkit.config_source import complete
from expkit.errors import ConfigError, ExpkitError, PluginError, did_you_mean
from expkit.signature import LOADER_OPTIONS, describe

LOADER_NAMES = frozenset(option.name for option in LOADER_OPTIONS)


def make_components(
    resolved: dict[str, Any], picked: dict[str, str], overrides: Sequence[str], *, recorded: bool = False
) -> dict[str, Any]:
    """Make the components, and correct `picked` where a `_target_` took the place of a choice.

    Args:
        resolved: the composed config as plain values; options of the user's own classes are completed in place.
        picked: chosen option of each config group; corrected in place.
        overrides: what the user typed.
        recorded: whether a run was made of this config: what its components did not take then was not typed.

    Raises:
        ConfigError: a node is no component, or has an option that it cannot have; a needed one was not chosen.
    """
    components: dict[str, Any] = {}
    for kind in registry.KINDS:
        group, node = kind.config_group, resolved.get(kind.config_group)
        if kind.many:
            chosen = {n: o for n, o in (node or {}).items() if not _waits(kind, n, o, overrides)}
            chosen = {n: _completed(kind, f"{group}.{n}", n, o, recorded) for n, o in chosen.items()}
            resolved[group] = {**(node or {}), **chosen} if node is not None else node
            components[group] = {n: _component(kind.name, n, o, recorded) for n, o in chosen.items()}
            picked[group] = ",".join(chosen)
        elif node:
            resolved[group] = node = _completed(kind, group, picked.get(group), node, recorded)
            components[group] = _component(kind.name, picked.get(group), node, recorded)
            picked[group] = components[group].name
        else:
            components[group] = None
    for needed in ("dataset", "learner"):
        if components[needed] is None:
            raise ConfigError(f"no {needed} was chosen. Choose an experiment, or write {needed}=NAME.")
    return components


def _completed(kind: registry.Kind, where: str, chosen: str | None, node: Any, recorded: bool) -> Any:
    """Check the options of a class in a file of the user's own, and add its defaults; others are as they are."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return node
    target = str(node["_target_"])
    module = target.rpartition(".")[0]
    if announced(kind.name, target) is not None:
        return node
    hidden = own_code.shadowed(module)
    if hidden:
        file = f"the file {module.partition('.')[0]}.py or folder"
        raise ConfigError(f"{where}._target_={target}: {file} here has the name of {hidden}. Give it another name.")
    entry = registry.by_path(kind, target)
    if entry is None:
        return node
    options = {name: value for name, value in node.items() if name != "_target_"}
    if not recorded and chosen is not None:
        idle, known = _defaults(kind.name, chosen), {option.name for option in describe(entry).options}
        options = {n: v for n, v in options.items() if n in known or n not in idle or idle[n] != v}
    return complete(entry, where, options)


def own_modules(components: Mapping[str, Any]) -> list[str]:
    """Return the modules of those chosen components, and of classes in their options, that no distribution brings."""
    flat = [one for found in components.values() for one in (found.values() if isinstance(found, dict) else [found])]
    found = [(one, announced(one.kind, one.target)) for one in flat if isinstance(one, Component)]
    targets = [one.target for one, entry in found if entry is None or entry.own]
    targets += [target for one, _ in found for target in _targets(one.options)]
    return [target.rpartition(".")[0] for target in targets]


def _targets(node: Any) -> Iterator[str]:
    """Yield the classes that options name."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _targets(inner)


def _waits(kind: registry.Kind, name: str, node: Any, overrides: Sequence[str]) -> bool:
    """Say whether an experiment has options ready for a component that was not chosen this time.

    Raises:
        ConfigError: the user sets one of these options.
    """
    if "_target_" in node or name not in registry.entries(kind):
        return False
    typed = next((o for o in overrides if o.lstrip("+").startswith(f"{kind.config_group}.{name}.")), None)
    if typed is not None:
        raise ConfigError(
            f"{typed!r}: {kind.name} {name!r} is not chosen. Add it to {kind.config_group}=[...] in the same command."
        )
    return True


def _component(kind: str, chosen: str | None, node: Mapping[str, Any], recorded: bool) -> Component:
    if not isinstance(node, Mapping) or "_target_" not in node:
        found = registry.kind_named(kind)
        group, named = found.config_group, "[NAME]" if found.many else "NAME"
        raise ConfigError(
            f"{kind}: {node!r} is not a component. Choose one by name ({group}={named}; `python -m expkit list "
            f"{found.entry_point_group.removeprefix('expkit.')}`), or give "
            f"{group}.{'NAME.' if found.many else ''}_target_=package.module.Class."
        )
    target = str(node["_target_"])
    name = _name(kind, chosen, target)
    options = {k: v for k, v in node.items() if k != "_target_"}
    if kind == "dataset":
        # These are the framework's; `prepare` supplies them to a dataset that wants to know them.
        options = {k: v for k, v in options.items() if k not in LOADER_NAMES}
    _refuse_added(kind, name, target, options)
    if recorded and announced(kind, target) is None:
        idle = options  # its class may have taken the place of a component, whose options came with it
    else:
        idle = {} if name == chosen or chosen is None else _defaults(kind, chosen)
    return Component(kind, name, target, options, partial(_bind, kind, name, target, options, idle))


def _defaults(kind: str, chosen: str) -> dict[str, Any]:
    """Return the defaults of a component that a `_target_` has replaced; they came with it, and nobody typed them."""
    found = registry.entries(registry.kind_named(kind)).get(chosen, ())
    return {option.name: option.default for entry in found for option in describe(entry).options}


def _refuse_added(kind: str, name: str, target: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that `+model.typo=1` has added: Hydra lets a plus into a closed config."""
    entry = announced(kind, target)
    if entry is None or (entry.own and describe(entry).takes_any):
        return  # a class that no distribution announces is checked when it is built
    known = {option.name for option in describe(entry).options}
    for option in options:
        if option not in known:
            raise ConfigError(
                f"{kind} {name!r} has no option {option!r}.{did_you_mean(option, known)} "
                f"Known: {', '.join(sorted(known)) or 'none'}. "
                f"`python -m expkit show {kind}/{entry.name}` explains them."
            )


def announced(kind: str, target: str) -> registry.Entry | None:
    """Return the entry point behind a target, also when it was chosen through a preset."""
    for found in registry.entries(registry.kind_named(kind)).values():
        for entry in found:
            if entry.python_path == target:
                return entry
    return None


def _name(kind: str, chosen: str | None, target: str) -> str:
    """The chosen name, unless a `_target_` was put in its place."""
    known = registry.entries(registry.kind_named(kind)).get(chosen or "", ())
    if chosen is None or (known and all(entry.python_path != target for entry in known)):
        return target.rpartition(".")[2]
    return chosen


def _bind(kind: str, name: str, target: str, options: Mapping[str, Any], idle: Mapping[str, Any]) -> Callable[..., Any]:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        # `_partial_`, so that what is supplied at run time never passes through OmegaConf, which would copy it.
        made = instantiate({"_target_": target, **options}, _partial_=True, _convert_="all")
        return _without_idle(made, idle) if idle else cast(Callable[..., Any], made)
    except InstantiationException as error:
        raise _not_loaded(kind, name, target, error) from error
    except SystemExit as error:  # an import runs its author's code
        left = ImportError(f"its import ends the process, by SystemExit: {error}")
        raise _not_loaded(kind, name, target, left) from error


def _not_loaded(kind: str, name: str, target: str, error: Exception) -> ExpkitError:
    """Say what Hydra could not build: the component, or a class that its options name."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line for line in str(cause).splitlines() if not line.startswith("full_key")]
    what = f"{'' if cause is error else f'{type(cause).__name__}: '}{' '.join(lines)}"
    no_class = re.search(r"No module named '(\S+)\.(\w+)'; '\1' is not a package", what)
    if no_class is not None:  # what Python says where a module lacks a name
        near = did_you_mean(no_class[2], own_code.defined(no_class[1])).strip()
        what = f"module {no_class[1]!r} defines no {no_class[2]!r}{near and f' ({near})'}"
    inside = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    if inside is not None:
        return ConfigError(
            f"{kind}.{inside[1]}: its _target_ cannot be used: {what.rstrip('.')}. EXPKIT_DEBUG=1 shows the traceback."
        )
    entry = announced(kind, target)
    owner = f" of {entry.distribution} {entry.version}" if entry else ""
    remedy = f" Update or uninstall {entry.distribution}." if entry and not entry.own else ""
    return PluginError(
        f"{kind} {name!r}{owner}: {target} cannot be loaded: {what.rstrip('.')}.{remedy} EXPKIT_DEBUG=1 shows the "
        "traceback."
    )


def _without_idle(made: partial[Any], idle: Mapping[str, Any]) -> partial[Any]:
    """Leave out what only the replaced component takes, as long as it is at that component's default."""
    try:
        accepted = inspect.signature(made.func).parameters
    except (TypeError, ValueError):  # a class of an extension module may have no signature
        return made
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return made
    kept = {n: v for n, v in made.keywords.items() if n in accepted or n not in idle or idle[n] != v}
    return partial(made.func, *made.args, **kept)
