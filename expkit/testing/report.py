"""What an examination says: for each promise whether it is kept, and for each that is broken, how and where."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

from expkit.testing.promises import Promise

Status = Literal["kept", "broken", "skipped", "not applicable", "not tried"]


class ConformanceError(AssertionError):
    """A component breaks a promise of its kind; the message says which, where, and how.

    Attributes:
        report: all that was examined.
    """

    def __init__(self, text: str, report: Report | None = None) -> None:
        super().__init__(text)
        self.report = report


@dataclass(frozen=True)
class Problem:
    """One way in which a promise is broken.

    Attributes:
        expected: what was promised here, in words.
        got: what was found instead.
        mend: what to do; empty where that is plain.
        option: of which option, if it is about one.
        specs: names of the data on which it was seen; empty where data have no part in it.
        everywhere: whether these are all data that it was tried on, and several.
        place: "file:line" of the component's own code where it was seen, where that is known.
    """

    expected: str
    got: str
    mend: str = ""
    option: str = ""
    specs: tuple[str, ...] = ()
    place: str = ""
    everywhere: bool = False

    def lines(self) -> list[str]:
        """Return it as lines of text, one a fact."""
        facts = {
            "option": self.option,
            "on": f"all {len(self.specs)} kinds of data" if self.everywhere else ", ".join(self.specs),
            "expected": self.expected,
            "got": self.got,
            "at": self.place,
            "mend": self.mend,
        }
        return [f"{name:<8} {value}".replace("\n", "\n" + 9 * " ") for name, value in facts.items() if value]

    @property
    def unexpected(self) -> bool:
        """Whether it is an error that nobody wanted."""
        return self.expected == NO_ERROR

    @property
    def cause(self) -> tuple[str, ...]:
        """What is equal for problems that the same change mends: all but data, numbers and advice."""
        texts = (_NUMBER.sub("#", text) for text in (self.expected, self.got))
        return (*texts, self.option, self.place)


NO_ERROR = "no error"
_NUMBER = re.compile(r"-?\d[\d.e+-]*")


class Broken(Exception):  # noqa: N818 - no error of a program: how a check says what it found
    """A check has found that its promise is broken."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.got)
        self.problem = problem


class NotApplicable(Exception):  # noqa: N818 - likewise
    """A check has found that its promise says nothing of this component; the message says why."""


def require(kept: bool, *, expected: str, got: object, mend: str = "", option: str = "") -> None:
    """Go on if a promise is kept.

    Args:
        kept: whether it is.
        expected: what was promised here.
        got: what was found instead.
        mend: what to do.
        option: which option it is about.

    Raises:
        Broken: it is not.
    """
    if not kept:
        broken(expected=expected, got=got, mend=mend, option=option)


def broken(*, expected: str, got: object, mend: str = "", option: str = "") -> NoReturn:
    """Say that the promise is broken; see `require`.

    Raises:
        Broken: always.
    """
    raise Broken(Problem(expected, str(got), mend, option))


@dataclass(frozen=True)
class Outcome:
    """What became of one promise.

    Attributes:
        promise: which.
        status: "kept"; "broken"; "skipped", as its author declares; "not applicable", where the promise is about
            something that the component may have and has not; "not tried", where something else has to be mended
            first.
        problems: in which ways it is broken.
        reason: why it was skipped, is not applicable or was not tried.
        seconds: that the check took.
    """

    promise: Promise
    status: Status
    problems: tuple[Problem, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return all about it, in several lines."""
        text = [f"{self.promise.name}: {self.promise.text}"]
        if self.reason:
            text.append(f"  {self.status}: {self.reason}")
        alike: dict[tuple[str, ...], list[Problem]] = {}
        for problem in self.problems:
            alike.setdefault(problem.cause, []).append(problem)
        for first, *others in alike.values():
            text += [textwrap.indent(line, "  ") for line in first.lines()]
            names = [name for other in others for name in other.specs]
            text += [f"  likewise on {', '.join(names)}"] if names else []
        return "\n".join(text)


@dataclass(frozen=True)
class Report:
    """All that was examined of one component.

    Attributes:
        kind: such as "model".
        name: as it is chosen, or the name of its class or function.
        owner: name and version of the distribution that announces it; empty where none does.
        where: "file:line" of its definition.
        options: those that it was built with, as far as they are not the defaults.
        outcomes: one for each promise, in order.
    """

    kind: str
    name: str
    owner: str
    where: str
    options: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Sequence[Outcome] = ()

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """The promises that are broken."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")

    @property
    def title(self) -> str:
        """What was examined, in one line: "model 'tiny' (hidden=4) of acme-expkit 1.2.0, acme_expkit/tiny.py:9"."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        owner = f" of {self.owner}" if self.owner else ""
        return f"{self.kind} {self.name!r}{f' ({options})' if options else ''}{owner}, {self.where}"

    def counted(self) -> str:
        """Return how many promises have which status: "21 kept, 1 broken"."""
        statuses = [outcome.status for outcome in self.outcomes]
        return ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))

    def blocks(self) -> list[str]:
        """Return what is broken and what was not tried, in one block for what has the same cause."""
        causes: dict[tuple[str, ...], list[Outcome]] = {}  # with the block that tells of it
        told: list[list[Outcome]] = []
        for outcome in self.broken:
            new = tuple(problem for problem in outcome.problems if problem.cause not in causes)
            if new:
                told.append([replace(outcome, problems=new)])
                causes |= {problem.cause: told[-1] for problem in new}
            else:
                causes[outcome.problems[0].cause].append(outcome)
        blocks = []
        for first, *others in told:
            names = ", ".join(other.promise.name for other in others)
            blocks.append(f"{first}\n  the same breaks: {names}" if names else str(first))
        left = [outcome for outcome in self.outcomes if outcome.status == "not tried"]
        for reason in dict.fromkeys(outcome.reason for outcome in left):
            names = ", ".join(outcome.promise.name for outcome in left if outcome.reason == reason)
            blocks.append(f"not tried: {names}\n  {reason}")
        return blocks

    def __str__(self) -> str:
        """Return its title and its blocks."""
        blocks = self.blocks()
        return "\n\n".join([f"{self.title}: {self.counted()}", *(textwrap.indent(block, "  ") for block in blocks)])

    def require(self) -> None:
        """Go on if no promise is broken, and nothing had to be left out.

        Raises:
            ConformanceError: all that is broken, and what was not tried.
        """
        if any(outcome.status in ("broken", "not tried") for outcome in self.outcomes):
            raise ConformanceError(str(self), self)


def together(problems: Sequence[Problem], trials: int) -> tuple[Problem, ...]:
    """Say once what is the same on several data, of `trials` in all."""
    found: dict[Problem, tuple[str, ...]] = {}
    for one in problems:
        bare = replace(one, specs=())
        found[bare] = (*found.get(bare, ()), *one.specs)
    return tuple(_on(bare, specs, trials) for bare, specs in found.items())


def _on(problem: Problem, specs: tuple[str, ...], trials: int) -> Problem:
    mend = problem.mend or (_REFUSE if problem.unexpected and problem.place and 0 < len(specs) < trials else "")
    return replace(problem, specs=specs, everywhere=2 < len(specs) == trials, mend=mend)


_REFUSE = "refuse such data in the constructor, with a ConfigError, if it is not made for them"
