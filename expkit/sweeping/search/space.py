"""What a search may choose from: options, the values of each, and when an option exists at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from expkit.errors import ConfigError, did_you_mean

Value: TypeAlias = "int | float | str"


@dataclass(frozen=True)
class Choices:
    """A few values, as they are written behind the equals sign: ("sgd", "adam") or ("[32]", "[64,64]")."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """All numbers between two, both of them among these.

    Attributes:
        low: the least.
        high: the largest.
        step: between two neighbours; None for all real numbers.
        log: whether 0.001 to 0.01 is as wide as 0.01 to 0.1.
        whole: whether they are integers.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def count(self) -> int | None:
        """How many there are; None where there is no end of them."""
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def values(self) -> list[int | float] | None:
        """Return all of them; None where there is no end of them."""
        if self.step is None or self.count is None:
            return None
        numbers = [self.low + n * self.step for n in range(self.count)]
        return [int(n) for n in numbers] if self.whole else [float(f"{n:.12g}") for n in numbers]


@dataclass(frozen=True)
class Condition:
    """What has to be chosen for another option to exist.

    Attributes:
        key: "optimizer".
        values: one of which it has to have: ("momentum", "nadam").
    """

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """An option that is searched.

    Attributes:
        key: as typed before the equals sign: "optimizer.learning_rate", "+optimizer.nesterov".
        domain: its values.
        when: conditions that all have to hold.
    """

    key: str
    domain: Choices | Numbers
    when: tuple[Condition, ...] = field(default=())

    @property
    def count(self) -> int | None:
        """How many values it has; None where there is no end of them."""
        return len(self.domain.values) if isinstance(self.domain, Choices) else self.domain.count

    def exists_in(self, picked: Mapping[str, Value]) -> bool:
        """Whether the values that were picked for others fulfil its conditions."""
        return all(str(picked.get(one.key)) in one.values for one in self.when)


class Space:
    """All options that are searched, those that decide about others before these.

    Args:
        parameters: in the order given by the user.
        lookup: the value that an option has where it is not searched, as it would be typed; None for an unknown one.

    Raises:
        ConfigError: there is nothing to search; a condition names what does not exist, or cannot hold, or waits for
            itself.
    """

    def __init__(self, parameters: list[Parameter], lookup: Callable[[str], str | None] = lambda key: None) -> None:
        kept = _decided(parameters, lookup)
        if not kept:
            raise ConfigError(
                "there is nothing to search: no option has several values. Give a file, +search=mnist_cnn, or values: "
                "'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))' optimizer=choice(sgd,adam)."
            )
        self.parameters = _ordered(kept)

    def __iter__(self) -> Iterator[Parameter]:
        """Go through the parameters, those that decide about others first."""
        return iter(self.parameters)

    @property
    def conditional(self) -> bool:
        """Whether some parameter is not there in every combination."""
        return any(parameter.when for parameter in self)

    def walk(self, pick: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Make one combination; `pick` is asked only for the parameters that exist in it."""
        picked: dict[str, Value] = {}
        for parameter in self:
            if parameter.exists_in(picked):
                picked[parameter.key] = pick(parameter)
        return picked

    def combinations(self) -> list[dict[str, Value]]:
        """Return every combination once, the last parameter varying fastest.

        Raises:
            ConfigError: there is no end of them.
        """
        return _combined(self.parameters)

    def size(self) -> int | None:
        """Return how many combinations there are; None where there is no end of them."""
        counts = {parameter.key: parameter.count for parameter in self}
        known = {key: count for key, count in counts.items() if count is not None}
        if len(known) < len(counts):
            return None
        deciding = {one.key for parameter in self for one in parameter.when}  # only these are gone through one by one
        rest = [parameter for parameter in self if parameter.key not in deciding]
        return sum(
            math.prod(known[parameter.key] for parameter in rest if parameter.exists_in(picked))
            for picked in _combined([parameter for parameter in self if parameter.key in deciding])
        )

    def corners(self) -> list[dict[str, Value]]:
        """Return a few combinations in which each choice, and the ends of each range, are used at least once."""
        open_ = {parameter.key: _ends(parameter.domain) for parameter in self}
        found: list[dict[str, Value]] = []
        while any(open_.values()):
            left = {key: len(values) for key, values in open_.items()}
            found.append(self.walk(lambda parameter: _next_end(parameter, self.parameters, open_)))
            if left == {key: len(values) for key, values in open_.items()}:
                break  # the rest exists in no combination
        return found


def overrides(values: Mapping[str, Value]) -> list[str]:
    """Write a combination as it is typed on the command line."""
    return [f"{key}={value}" for key, value in values.items()]


def numbers(key: str, low: float, high: float, *, step: float | None, log: bool, whole: bool) -> Numbers:
    """Make a range of numbers, checked.

    Raises:
        ConfigError: it is empty, or a logarithm has no sense in it.
    """
    if not low < high or not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{key}: from {low:g} to {high:g} there is no more than one number. Write the smaller first.")
    if log and not low > 0:
        raise ConfigError(f"{key}: tag(log, ...) from {low:g}: only numbers above 0 have a logarithm.")
    if log and step is not None and not (whole and step == 1):
        raise ConfigError(
            f"{key}: steps of {step:g} cannot be even in the logarithm, too. Leave out tag(log), or write "
            "tag(log,int(interval(16,256))) or choice(16,32,64,128,256)."
        )
    return Numbers(low, high, step, log, whole)


def _combined(parameters: Sequence[Parameter]) -> list[dict[str, Value]]:
    found: list[dict[str, Value]] = [{}]
    for parameter in parameters:
        found = [
            {**one, **chosen}
            for one in found
            for chosen in ([{parameter.key: v} for v in _all(parameter)] if parameter.exists_in(one) else [{}])
        ]
    return found


def _all(parameter: Parameter) -> list[Value]:
    if isinstance(parameter.domain, Choices):
        return list(parameter.domain.values)
    found = parameter.domain.values()
    if found is None:
        raise ConfigError(
            f"{parameter.key}: between {parameter.domain.low:g} and {parameter.domain.high:g} there is no end of "
            "numbers, and a grid tries all. Write some: choice(0.001,0.01,0.1) or range(0.1,0.6,0.1), or choose "
            "another hydra.sweeper.sampler."
        )
    return list(found)


def _ends(domain: Choices | Numbers) -> list[Value]:
    if isinstance(domain, Choices):
        return list(domain.values)
    ends = domain.low, domain.high
    return [int(n) for n in ends] if domain.whole else [float(n) for n in ends]


def _next_end(parameter: Parameter, parameters: list[Parameter], open_: dict[str, list[Value]]) -> Value:
    if open_[parameter.key]:
        return open_[parameter.key].pop(0)
    for other in parameters:  # one that exists only for a certain value, and has not been tried yet
        for condition in other.when:
            if condition.key == parameter.key and open_[other.key]:
                return next(end for end in _known(parameter, condition))
    return _ends(parameter.domain)[0]


def _known(parameter: Parameter, condition: Condition) -> Iterator[Value]:
    ends = _ends(parameter.domain)
    return (end for end in [*ends, *condition.values] if str(end) in condition.values)


def _decided(parameters: list[Parameter], lookup: Callable[[str], str | None]) -> list[Parameter]:
    """Leave out what cannot exist since what it waits for is not searched and has another value; check the rest."""
    searched = {parameter.key: parameter for parameter in parameters}
    kept = []
    for parameter in parameters:
        when = []
        for condition in parameter.when:
            parent = searched.get(condition.key)
            if parent is not None:
                _check_reachable(parameter, condition, parent)
                when.append(condition)
            elif not _holds(parameter, condition, lookup(condition.key), searched):
                break
        else:
            kept.append(Parameter(parameter.key, parameter.domain, tuple(when)))
    gone = set(searched) - {one.key for one in kept}
    return _decided(kept, lambda key: "" if key in gone else lookup(key)) if gone else kept


def _holds(parameter: Parameter, condition: Condition, value: str | None, searched: Mapping[str, Parameter]) -> bool:
    if value is None:
        raise ConfigError(
            f"hydra.sweeper.conditions: {parameter.key} waits for {condition.key!r}, which is neither searched nor an "
            f"option of the experiment.{did_you_mean(condition.key, searched)}"
        )
    return value in condition.values


def _check_reachable(parameter: Parameter, condition: Condition, parent: Parameter) -> None:
    domain = parent.domain
    possible = domain.values if isinstance(domain, Choices) else [str(n) for n in domain.values() or ()]
    missing = [value for value in condition.values if value not in possible]
    if missing and possible:
        near = did_you_mean(missing[0], possible)
        raise ConfigError(
            f"hydra.sweeper.conditions: {parameter.key} waits for {condition.key}={missing[0]}, which is never chosen."
            f"{near} {condition.key} is one of {', '.join(possible[:20])}."
        )
    if missing:
        raise ConfigError(
            f"hydra.sweeper.conditions: {parameter.key} waits for a value of {condition.key}, which may be any number "
            "of a range. A condition needs a choice(...) or a range(...)."
        )


def _ordered(parameters: list[Parameter]) -> list[Parameter]:
    found: dict[str, Parameter] = {}
    left = list(parameters)
    while left:
        ready = [one for one in left if all(condition.key in found for condition in one.when)]
        if not ready:
            raise ConfigError(
                f"hydra.sweeper.conditions: {', '.join(one.key for one in left)} wait for each other, so that none of "
                "them would ever exist."
            )
        found.update({one.key: one for one in ready})
        left = [one for one in left if one.key not in found]
    return list(found.values())
