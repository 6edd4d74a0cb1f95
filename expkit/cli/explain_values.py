"""Explains what OmegaConf says when a key or a value is refused."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import (
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from expkit import registry
from expkit.cli.explain_common import COMMAND, kind_of
from expkit.errors import did_you_mean, first_line
from expkit.registry import Entry
from expkit.signature import describe


def unknown_key(error: OmegaConfBaseException, outer: BaseException) -> str | None:
    """Explain `trainer.epoch=3`, `modle=cnn`, and `metrics.mse.k=1` while mse is not chosen."""
    parent, key, path = error.parent_node, str(error.key), str(error.full_key or error.key)
    if not isinstance(parent, DictConfig):
        return None
    prefix = path.removesuffix(key)
    keys = [str(k) for k in parent if k not in ("_target_", "hydra")]
    kind = kind_of(prefix.rstrip("."))
    if kind is not None and kind.many:
        return _not_chosen(kind, key, keys)
    entry = getattr(error.object_type, "entry", None)
    where = _where(outer)
    if isinstance(entry, Entry):
        kind_name = f"{entry.kind.name}/{entry.name}"
        head = f"{where}{path}: {entry.kind.name} {entry.name!r} has no option {key!r}."
        tail = f"\nOptions: {', '.join(keys) or 'none'}. `{COMMAND} show {kind_name}` explains them."
    elif kind is not None and not keys:
        return (
            f"{where}{path}: no {kind.config_group} is chosen here. Choose one, {kind.config_group}=NAME; in a sweep "
            f"whose jobs choose theirs, set it in each: ++{path}=VALUE."
        )
    else:
        if not prefix:
            keys += [k.config_group for k in registry.KINDS if k.config_group not in keys]
        head = f"{where}there is no option {path!r}."
        tail = f"\nKnown{' in ' + prefix.rstrip('.') if prefix else ''}: {', '.join(keys)}."
    near = [prefix + name for name in difflib.get_close_matches(key, keys, n=2)] or _elsewhere(parent, key)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return head + hint + tail


def _not_chosen(kind: registry.Kind, name: str, chosen: list[str]) -> str:
    group = kind.config_group
    known = list(registry.entries(kind))
    if name in known:
        both = ",".join([*chosen, name])
        return (
            f"{group}.{name}: {kind.name} {name!r} is not chosen (chosen: {', '.join(chosen) or 'none'}). "
            f"Choose it first: '{group}=[{both}]'"
        )
    near = did_you_mean(name, [*chosen, *known])
    return (
        f"no {kind.name} is called {name!r}.{near}\n"
        f"Chosen: {', '.join(chosen) or 'none'}. Known: {', '.join(known) or 'none'}."
    )


def _elsewhere(parent: DictConfig, key: str) -> list[str]:
    """Find where else in the config a key of this name is: `epochs=3` means trainer.epochs."""
    root = parent._get_root()
    nodes = {str(name): root._get_node(name) for name in root if name != "hydra"}
    return [f"{name}.{key}" for name, node in nodes.items() if isinstance(node, DictConfig) and key in node]


def refused_override(error: OmegaConfBaseException, outer: BaseException) -> str | None:
    """Explain a mistake that has no message of its own: the override, and what OmegaConf says of it."""
    merged = re.search(r"Error merging override (\S.*)", str(outer))
    if merged is None:
        return None
    if "does not support deletion" in str(error):
        return f"{merged[1]}: an option of a component cannot be taken away. Set it to the value that you want."
    return f"{merged[1]}: {first_line(error)} ({error.full_key})."


def _where(outer: BaseException) -> str:
    """Name the config file that is at fault; nothing for the command line."""
    match = re.match(r"In '([^']+)'", str(outer))
    return f"in config {match[1]!r}: " if match and match[1] != "expkit" else ""


def wrong_value(error: ValidationError, outer: BaseException) -> str | None:
    """Explain `trainer.epochs=abc`."""
    path = str(error.full_key or "")
    if not path or (error.value is None and "Optional" not in str(error)):
        return None
    merged = re.search(r"Error merging override \+*([^=]+)=", str(outer))
    expected = _expected(error)
    if merged and merged[1].startswith(f"{path}.") and error.value == {}:
        return f"{merged[1]}: {path} is a single value{expected and f' ({expected})'}, with nothing inside."
    value = "null" if error.value is None else _shown(error.value)
    entry = getattr(error.object_type, "entry", None)
    more = f" `{COMMAND} show {entry.kind.name}/{entry.name}` explains it." if isinstance(entry, Entry) else ""
    reason = f"it must be {expected}" if expected else first_line(error).rstrip(".")
    return f"{_where(outer)}{path}={value} has the wrong type: {reason}.{more}"


def _shown(value: Any) -> str:
    return str(value) if not isinstance(value, bool) else str(value).lower()


def _expected(error: OmegaConfBaseException) -> str:
    """Say which type was wanted, as the author of the component or schema wrote it."""
    owner, key = error.object_type, str(error.key)
    entry = getattr(owner, "entry", None)
    if isinstance(entry, Entry):
        return next((o.type_text for o in describe(entry).options if o.name == key), "")
    if owner is not None and dataclasses.is_dataclass(owner):
        wanted = {f.name: f.type for f in dataclasses.fields(owner)}.get(key)
        text = wanted if isinstance(wanted, str) else inspect.formatannotation(wanted) if wanted else ""
        return _in_words(text, key)
    match = re.search(r"could not be converted to (\w+)", str(error))
    words = {"Integer": "int", "Float": "float", "Boolean": "bool", "String": "str"}
    return words.get(match[1], match[1].lower()) if match else ""


def _in_words(annotation: str, key: str) -> str:
    """Say of an option of the framework what it takes: "a number of seconds, or null" of "Optional[float]"."""
    match = re.fullmatch(r"(?:typing\.)?Optional\[(\w+)\]", annotation)
    kind = match[1] if match else annotation
    if kind == "float" and key in ("timeout", "grace", "devices_timeout", "every_seconds", "sync_every"):
        kind = "a number of seconds"
    return f"{kind}, or null" if match else kind


def missing_value(error: MissingMandatoryValue, _: BaseException) -> str | None:
    """Explain an option that has no default and was not given."""
    path = str(error.full_key or error.key)
    entry = getattr(error.object_type, "entry", None)
    if isinstance(entry, Entry):
        return (
            f"{path} has no value, and {entry.kind.name} {entry.name!r} needs one. Give it: {path}=VALUE. "
            f"`{COMMAND} show {entry.kind.name}/{entry.name}` explains it."
        )
    return f"{path} has no value. Give it: {path}=VALUE."


def unresolved(error: InterpolationResolutionError, _: BaseException) -> str | None:
    """Explain a reference such as `${trainer.epoch}` that leads nowhere."""
    path, said = str(error.full_key or error.key), first_line(error)
    key = re.search(r"Interpolation key '([^']+)' not found", said)
    if key:
        said = f"it refers to ${{{key[1]}}}, which does not exist"
    elif "Unsupported interpolation type" in said:
        said = f"it uses a resolver {said.rpartition(' ')[2]!r}, which does not exist"
    return f"{path or 'a value'} cannot be resolved: {said}."


def unreadable_reference(error: GrammarParseError, _: BaseException) -> str | None:
    """Explain a reference that is not written as one."""
    return f"{error.full_key}={error.value!r} cannot be read: an interpolation is written ${{name}}."
