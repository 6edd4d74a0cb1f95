"""Explains what Hydra says when a choice or an override is refused."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import suppress

from hydra.errors import HydraException, MissingConfigException, OverrideParseException

from expkit import own_code, registry
from expkit.cli.experiments import experiment_names
from expkit.cli.explain_common import COMMAND, kind_of
from expkit.errors import PluginError, did_you_mean
from expkit.signature import definition, describe
from expkit.source import module_spec


def unknown_choice(error: MissingConfigException, _: BaseException) -> str | None:
    """Explain `model=cnnn`."""
    group, _slash, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return f"there is no config {name!r}.{did_you_mean(name, ['config'])} Leave out --config-name."
    kind = kind_of(group)
    known = sorted(error.options or (registry.entries(kind) if kind else ()))
    message = f"no {kind.name if kind else group} is called {name!r}.{did_you_mean(name, known)}"
    message += f"\nKnown: {', '.join(known) or 'none'}."
    if kind is not None:
        message += f" `{COMMAND} list {kind.plural}` explains them.\n"
        written = (
            "A plugin that was just written needs its `pip install -e .` again. A class in a file needs none: "
            f"put it into plugins/{kind.plural}.py, or write {_choice(kind, 'FILE.CLASS')}."
        )
        message += _by_path(kind, name) or _by_name(kind, name) or registry.announced_in_vain(name).strip() or written
        message += registry.unreadable(kind)
    return message


def _choice(kind: registry.Kind, name: str) -> str:
    return f"{kind.config_group}=[{name}]" if kind.many else f"{kind.config_group}={name}"


def _by_path(kind: registry.Kind, path: str) -> str:
    """Explain `model=my_modles.Net` and `loss=paddle.nn.CrossEntropyLoss`: names of classes; empty for other names."""
    top, dot, _ = path.partition(".")
    if not dot:
        return ""
    if module_spec(top) is None:
        own = [file.stem for root in own_code.roots() for file in root.glob("*.py")]
        return f"There is no {top}.py here, and no package of that name.{did_you_mean(top, own)}"
    adapter = next((a for a in (f"paddle_{kind.name}", "paddle_layer") if a in registry.entries(kind)), None)
    target = f"{kind.config_group}._target_={path}"
    if adapter is not None:
        node = f"{kind.config_group}.{adapter}" if kind.many else kind.config_group
        target = f"{_choice(kind, adapter)} {node}.of._target_={path}"
    return f"A class of a package that knows nothing of expkit is named by its target: {target}"


def _by_name(kind: registry.Kind, name: str) -> str:
    """Explain `model=resnet34`: one of the names that a component lists in its docstring for its option `name`."""
    for adapter, (entry, *_) in registry.entries(kind).items():
        with suppress(PluginError):  # a broken one is no reason to explain nothing
            found = definition(entry)
            doc = (ast.get_docstring(found.node) or "") if found is not None else ""
            listed = re.search(rf"[,:]\s{re.escape(name)}[,.]", doc)
            if listed and any(option.name == "name" for option in describe(entry).options):
                node = f"{kind.config_group}.{adapter}" if kind.many else kind.config_group
                return f"{adapter} knows it by name: {_choice(kind, adapter)} {node}.name={name}"
    return ""


def unreadable_override(error: OverrideParseException, _: BaseException) -> str | None:
    """Explain `model.channels=[8,`."""
    override, said = error.override, str(error)
    if "missing EQUAL" in said or not re.search(r"=", override):
        known = experiment_names()
        hint = f" Did you mean +experiment={override}?" if override in known else ""
        return f"{override!r} is not key=value.{hint} `{COMMAND} --help` shows what can be written."
    function = re.search(r"Unknown function '(\w+)'", said)
    key, _equals, value = override.partition("=")
    if function:
        reason = f"there is no function {function[1]!r}"
    elif foreign := _unquoted_letters(value):
        reason = f"{foreign} has letters that need quotes inside quotes: '{key}=\"{foreign}\"'"
    elif "${" in value:
        reason = f"a reference is written ${{name}}, and quoted for the shell: '{key}=${{name}}'"
    elif any(value.count(a) > value.count(b) for a, b in ("[]", "{}", "()")):
        reason = "a bracket is not closed. A list has no spaces, or is quoted as a whole: 'model.channels=[8, 16]'"
    elif value.count("'") % 2 or value.count('"') % 2:
        reason = "a quote is not closed"
    elif value.endswith(","):
        reason = "nothing follows the last comma"
    else:
        reason = f"a value with special characters needs quotes inside quotes: \"{key}='{value}'\""
    return f"{override!r} cannot be read: {reason}."


def _unquoted_letters(value: str) -> str:
    """Return the first word with letters beyond ASCII that stands in no quotes; Hydra reads it in quotes only."""
    bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", " ", value)
    return next((one for one in re.findall(r"[^\s,=:\[\](){}]+", bare) if not one.isascii()), "")


def refused_composition(error: HydraException, _: BaseException) -> str | None:
    """Explain what Hydra itself refuses, known by its words, which its version pin holds still."""
    said = str(error)
    for pattern, answer in _COMPOSITIONS:
        match = re.search(pattern, said, re.DOTALL)
        if match:
            return answer(*match.groups())
    return None


def _not_in_defaults(key: str) -> str:
    if key == "experiment":
        return f"an experiment is added with a plus: +experiment=NAME.\nKnown: {', '.join(experiment_names())}."
    if "@" in key:
        return f"{key!r} cannot be chosen: leave out the part from '@' on."
    known = [kind.config_group for kind in registry.KINDS]
    if key in known:
        return f"{key} is not part of this config. Add it: +{key}=NAME."
    return f"there is no group {key!r}.{did_you_mean(key, known)}"


def _append_to_defaults(key: str, value: str) -> str:
    if key == "experiment":
        near = did_you_mean(value, experiment_names()) if value not in experiment_names() else ""
        return f"an experiment is added with a plus: +experiment={value}.{near}"
    return _not_in_defaults(key)


def _missing_choice(key: str) -> str:
    kind = kind_of(key)
    known = sorted(registry.entries(kind)) if kind else []
    message = f"no {key} was chosen. Choose one: {key}=NAME."
    if known:
        message += f" Known: {', '.join(known)}."
    experiments = experiment_names()
    if experiments:
        message += f"\nOr start from an experiment: {COMMAND} +experiment={experiments[0]}"
    return message


def _twice(key: str, value: str) -> str:
    if key == "experiment":
        return "more than one experiment is named. Name one; to run several, sweep: -m +experiment=a,b."
    return f"{key} is chosen already. Change it without a plus: {key}={value}."


_COMPOSITIONS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"To append to your default list use \+([\w/]+)=(\S+)$", _append_to_defaults),
    (r"Could not override '([^']+)'. No match in the defaults list", _not_in_defaults),
    (r"Did you mean to override ([\w/]+)\?", lambda key: f"{key} is chosen by {key}=NAME, without '@'."),
    (r"You must specify '([^']+)'", _missing_choice),
    (r"Multiple values for (\S+)\. .*override \S+ (\S+)'", _twice),
    (
        r"Ambiguous value for argument '([^']*)'",
        lambda override: (
            f"{override} has several values. To run each of them, sweep: {COMMAND} -m {override}\n"
            "For one list, put it in brackets: key=[a,b]."
        ),
    ),
    (
        r"Sweep parameters '(.*)' requires",
        lambda override: f"{override} is a sweep: it needs -m, as in {COMMAND} -m {override!r}.",
    ),
    (
        r"An item is already at '([^']+)'.*remove \+ prefix: '([^']+)'",
        lambda key, override: f"{key} exists already. Set it without a plus: {override}",
    ),
    (
        r"Merge error: \S+ is not a subclass of",
        lambda: (
            "two choices are given for one name. A group that takes one is given one, such as model=cnn; in a list, "
            "a class of your own may not be called like another metric, transform or callback: rename it."
        ),
    ),
    (
        r"Could not delete(?: from config\.)? '([^']*)'",
        lambda key: f"{key!r} cannot be taken away: it is not there.",
    ),
)
