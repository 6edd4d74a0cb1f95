"""Which runs a user means: "mnist_cnn optimizer=adam optimizer.learning_rate<0.01 since=2d"."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import yaml

from expkit.comparison.run import STATUSES, Run
from expkit.errors import ConfigError, did_you_mean
from expkit.sweeping.names import status_word

HELP = """\
filters (all of them must fit; a value may be a list a,b or have a * in it)
  mnist_cnn  'mnist_*'  '*'          experiments; * is all of them
  RUN                                a run, by its id or the last part of it
  optimizer=adam                     a choice or an option; != is not
  'optimizer.learning_rate<0.01'     numbers: < <= > >=  (quoted, for the shell)
  'model.hidden=[64,64]'             lists, true, null: as in overrides
  'test/accuracy>0.9'                a metric
  status=finished                    or running, failed, stopped, paused, died; stopped is KILLED in files
  sweep=ab12cd                       the jobs of a sweep
  since=2d  until=2026-11-20         s, m, h, d, w back from now; or a date, or `today`
  name=..., seconds>60, tag:NAME=VALUE
"""
ATTRIBUTES = ("experiment", "name", "seconds", "since", "status", "sweep", "until")
TAG = "tag:"

_FILTER = re.compile(r"(?P<key>[^=<>!]+?)\s*(?P<operator>!=|<=|>=|==|=|<|>)\s*(?P<value>.*)", re.S)
_AGO = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Filter:
    """One condition, as "optimizer=adam".

    Attributes:
        text: as it was typed.
        key: what is compared.
        operator: how.
        value: with what, as text.
    """

    text: str
    key: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selection:
    """What a user asks for.

    Attributes:
        words: names of experiments, or runs.
        filters: conditions.
    """

    words: tuple[str, ...]
    filters: tuple[Filter, ...]

    @property
    def text(self) -> str:
        """As it was typed; empty where nothing was."""
        return " ".join([*self.words, *(one.text for one in self.filters)])


def parse(arguments: Sequence[str], now: datetime) -> Selection:
    """Read filters.

    Args:
        arguments: as typed.
        now: the time of day.

    Raises:
        ConfigError: one of them is none.
    """
    words, filters = [], []
    for text in arguments:
        match = _FILTER.fullmatch(text)
        if match is None:
            words.append(text)
            continue
        one = Filter(text, match["key"].strip(), match["operator"].replace("==", "="), match["value"].strip())
        _check(one, now)
        if one.key == "experiment" and one.operator == "=":
            words += _alternatives(one.value)
        else:
            filters.append(one)
    return Selection(tuple(words), tuple(filters))


def select(runs: Sequence[Run], filters: Sequence[Filter], now: datetime) -> list[Run]:
    """Return the runs that fit all of some conditions.

    Raises:
        ConfigError: none of the runs has what a condition asks for, or not in such an order.
    """
    tests = [(one, _key(one, runs)) for one in filters]
    return [run for run in runs if all(_fits(run, one, key, now) for one, key in tests)]


def is_called(run: Run, word: str) -> bool:
    """Whether a user may mean this run by a word: its id, the end of it, or the beginning of MLflow's."""
    if word in (run.id, run.mlflow_run_id) or run.id.endswith(f"-{word}"):
        return True
    return len(word) >= 6 and bool(run.mlflow_run_id) and run.mlflow_run_id.startswith(word)


def moment(text: str, now: datetime) -> datetime:
    """Read a time: "2d" ago, "today", "yesterday", or a date with or without a time of day.

    Raises:
        ConfigError: it is none.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(seconds=float(ago["number"]) * _SECONDS[ago["unit"]])
    here = now.astimezone()
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"today": 0, "yesterday": 1}.get(text)
    if days is not None:
        return midnight - timedelta(days=days)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no time. Write how long ago (30m, 12h, 2d, 1w), today, yesterday, or a date: "
            f"{here:%Y-%m-%d} or {here:%Y-%m-%dT%H:%M}."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=here.tzinfo)


def _check(one: Filter, now: datetime) -> None:
    if not one.value and one.operator not in ("=", "!="):
        raise ConfigError(f"{one.text!r} compares with nothing. Write {one.key}{one.operator}VALUE.")
    if one.key in ("since", "until"):
        if one.operator != "=":
            raise ConfigError(f"{one.text!r}: a time is written {one.key}={one.value}.")
        moment(one.value, now)
    if one.key == "status":
        for word in _alternatives(one.value):
            known = dict.fromkeys(status_word(status) for status in STATUSES)
            if "*" not in word and word.lower() not in known and word.upper() not in STATUSES:
                near = did_you_mean(word.lower(), known)
                raise ConfigError(f"{one.text!r}: no run can be {word!r}.{near} It can be {', '.join(known)}.")
    if one.operator in _ORDERS and _number(one.value) is None:
        raise ConfigError(f"{one.text!r}: {one.operator} compares numbers, and {one.value!r} is none.")


def _key(one: Filter, runs: Sequence[Run]) -> str:
    """Return the full name of what a condition asks for, if any of the runs has it."""
    if one.key in ATTRIBUTES or one.key.startswith(TAG):
        if one.key.startswith(TAG) and runs and not any(one.key[len(TAG) :] in run.tags for run in runs):
            known = sorted({tag for run in runs for tag in run.tags if not tag.startswith("mlflow.")})
            near = did_you_mean(one.key[len(TAG) :], known)
            raise ConfigError(f"{one.text!r}: no run has such a tag.{near} There are {', '.join(known) or 'none'}.")
        return one.key
    return full_name(one.key, runs, one.text) if runs else one.key


def full_name(key: str, runs: Iterable[Run], text: str) -> str:
    """Return the name of the parameter or metric that a user means; the last part will do where it is the only one.

    Raises:
        ConfigError: there is none, or more than one.
    """
    params = list(dict.fromkeys(name for run in runs for name in run.params))
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    known = [*params, *metrics]
    if key in known:
        return key
    ends = [name for name in params if name.endswith(f".{key}")]
    ends = ends or [name for name in (f"valid/best_{key}", f"test/{key}") if name in metrics][:1]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ConfigError(f"{text!r}: {key!r} may be {' or '.join(ends)}. Write which.")
    near = did_you_mean(key, dict.fromkeys([*known, *(name.rpartition(".")[2] for name in params)]))
    raise ConfigError(
        f"{text!r}: no run has {key!r}.{near} Choices and options are as in overrides ({', '.join(params[:3])}, ...), "
        f"metrics are {', '.join(sorted(name for name in metrics if not name.startswith('step/'))) or 'none'}; "
        f"besides there are {', '.join(ATTRIBUTES)}, {TAG}NAME."
    )


def _fits(run: Run, one: Filter, key: str, now: datetime) -> bool:
    if key in ("since", "until"):
        when = moment(one.value, now)
        return run.started is not None and (run.started >= when if key == "since" else run.started < when)
    value = _value(run, key)
    if one.operator in _ORDERS:
        number, limit = _number(value), _number(one.value)
        return number is not None and limit is not None and _ORDERS[one.operator](number, limit)
    values = [value, status_word(value)] if key == "status" and value else [value]  # as files have it, and as is shown
    same = any(_same(text, wanted) for text in values if text is not None for wanted in _alternatives(one.value))
    return same if one.operator == "=" else not same


def _value(run: Run, key: str) -> str | None:
    if key.startswith(TAG):
        return run.tags.get(key[len(TAG) :])
    if key == "sweep":
        return run.tags.get("sweep")
    if key in ("experiment", "name", "status"):
        return str(getattr(run, key))
    if key == "seconds":
        return None if run.seconds is None else repr(run.seconds)
    if key in run.params:
        return run.params[key]
    return repr(run.metrics[key]) if key in run.metrics else None


def _same(value: str, wanted: str) -> bool:
    if "*" in wanted and fnmatchcase(value.lower(), wanted.lower()):
        return True
    one, other = _plain(value), _plain(wanted)
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


@lru_cache(maxsize=4096)
def _plain(text: str) -> Any:
    """Read a value as in overrides: a number, a list, true, null, or a text."""
    number = _number(text)
    if number is not None:
        return number
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, (bool, list, dict, type(None))) else text


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _alternatives(text: str) -> list[str]:
    """Cut "0.1,0.01" at the commas that are in no brackets."""
    found, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in ")}]")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [one.strip() for one in found]
