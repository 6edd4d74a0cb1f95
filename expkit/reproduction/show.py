"""What a user reads of a reproduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from expkit.reproduction.causes import HARDLY, Cause, environment_causes, pip_command
from expkit.reproduction.comparing import Comparison, Difference
from expkit.reproduction.plan import Plan
from expkit.reproduction.recorded import Recorded
from expkit.reproduction.work_tree import CodeChange
from expkit.runlog import log

_ENDS = {"RUNNING": "without an end: it was killed, or still trains"}


def announce(console: Console, then: Recorded, plan: Plan, change: CodeChange | None, code: str) -> None:
    """Say which run is done again, how far, and with which code.

    Args:
        console: where to.
        then: the run.
        plan: how it is done.
        change: how the code of today differs; None where it does not.
        code: "today" or "recorded".
    """
    ended = _ENDS.get(then.status, then.status.lower())
    last = plan.parts[-1].last_step
    far = f"compared up to step {last:,}" if last is not None else "compared to its end"
    _line(console, "reproduces", f"{then.id}  ({ended}, {_count(len(then.steps), 'step')}; {far})")
    _line(console, "record", then.origin)
    for number, part in enumerate(plan.parts[1:]):
        step = plan.parts[number].last_step
        _line(console, "resumed" if not number else "", f"after step {step:,} with {' '.join(part.changes)}")
    if code == "recorded":
        git = then.git
        changes = " with its changes" * bool(git.get("dirty"))
        _line(console, "code", f"that of then: commit {str(git.get('commit'))[:8]}{changes}, in a checkout of its own")
    elif change is None:
        _line(console, "code", "the same as then")
    else:
        remedy = "  (--code recorded runs the code of then)" if change.matters and then.git else ""
        _line(console, "code", f"{change}{remedy}")


def differences(console: Console, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say how versions and machine differ, and which command brings the versions of then back."""
    found = environment_causes(then, now)
    if not found:
        _line(console, "machine", "the same as then, with the same versions")
    for number, cause in enumerate(found):
        _line(console, "otherwise" if not number else "", f"{cause.what}: {cause.then} -> {cause.now}")
    _versions(console, then, now)
    console.print()


def conclude(console: Console, then: Recorded, now: Recorded, found: Comparison, causes: Sequence[Cause]) -> None:
    """Say whether the same came out, where the runs part, and what may be why.

    Args:
        console: where to.
        then: the run.
        now: its reproduction.
        found: how they compare.
        causes: all that differs, the likely ones first.
    """
    counts = found.compared
    parts = [_count(counts["steps"], "step"), _count(counts["epochs"], "epoch")]
    if counts["final"]:
        parts.append(_count(counts["final"], "final value"))
    console.print()
    if found.identical:
        _line(console, "identical", f"{', '.join(parts)}: the same, bit by bit")
        if causes:
            _line(console, "although", "; ".join(f"{one.what}: {one.then} -> {one.now}" for one in causes))
        return
    _line(console, "differs", where(found))
    if found.first is not None:
        _line(console, "", size(found.first))
    of = [f"{found.differing[k]} of {text}" for k, text in zip(("steps", "epochs", "final"), parts, strict=False)]
    _line(console, "", f"in all {', '.join(of)} differ")
    if found.ends is not None:
        _line(console, "ended", f"{found.ends[0]} -> {found.ends[1]}")
    if found.final:
        console.print(_table(found.final))
    _causes(console, then, now, causes)


def where(found: Comparison) -> str:
    """Say in one line where two runs part."""
    first = found.first
    if first is None:
        return "in how it ended"
    return f"at {first.place}: {first.metric} {_value(first.then)} -> {_value(first.now)}"


def size(first: Difference) -> str:
    """Say how far apart the first values are that differ, and of what kind that is."""
    if first.then is None or first.now is None:
        return "one of the two has no such value"
    if first.is_rounding:
        return f"relative {first.relative:.1e}: the size of rounding, as another order of additions makes it"
    return f"relative {first.relative:.1e}: more than rounding"


def _causes(console: Console, then: Recorded, now: Recorded, causes: Sequence[Cause]) -> None:
    likely = [cause for cause in causes if cause.reach != HARDLY]
    others = [cause for cause in causes if cause.reach == HARDLY]
    if not likely:
        console.print(
            "Nothing that is recorded differs and could be why. What no record holds: random numbers that do not come "
            "from the run's seed, operations that add in no fixed order (some on GPUs), code outside of the git "
            "repository, files that the data's fingerprint does not cover, and environment variables.",
            markup=False,
        )
    for number, cause in enumerate(likely):
        _line(console, ("likely why" if not number else "or"), f"{cause.what}: {cause.then} -> {cause.now}")
    if others:
        text = "; ".join(f"{one.what}: {one.then} -> {one.now}" for one in others)
        _line(console, "hardly", text)
    _versions(console, then.environment, now.environment)


def _versions(console: Console, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    command = pip_command(then, now)
    if command:
        _line(console, "bring back", command)
    if "paddlepaddle-gpu==" in command:
        _line(console, "", "(the build for your CUDA: https://www.paddlepaddle.org.cn/en/install/quick)")


def _table(final: Sequence[Difference]) -> Table:
    table = Table()
    table.add_column("final value")
    for column in ("then", "now", "difference"):
        table.add_column(column, justify="right")
    for one in final:
        known = one.then is not None and one.now is not None
        change = f"{one.now - one.then:+.3g}" if known else "-"  # type: ignore[operator]  # both are numbers here
        table.add_row(one.metric, _value(one.then), _value(one.now), change)
    return table


def _value(value: float | None) -> str:
    return "nothing" if value is None else repr(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _line(console: Console, what: str, text: str) -> None:
    line = f"{what:<11} {text}"
    console.print(line, soft_wrap=True, markup=False)
    log.info(line)
