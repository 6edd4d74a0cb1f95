"""What a schedule promises."""

from __future__ import annotations

import json
import math
from typing import Any

from expkit.api import ConfigError, DataSpec
from expkit.paddle_import import import_paddle
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, require
from expkit.testing.subject import Subject
from expkit.testing.toys import EPOCHS, STEPS_PER_EPOCH, supplied

_TOTAL = EPOCHS * STEPS_PER_EPOCH
_LENGTHS = ((EPOCHS, STEPS_PER_EPOCH), (1, 1), (3, 1), (1, 7), (50, 2))


def _scheduler(subject: Subject) -> Any:
    """Return a scheduler."""
    found = subject.make()
    if not isinstance(found, import_paddle().optimizer.lr.LRScheduler):
        raise NotApplicable("it returns a rate that stays")
    return found


def _rates(schedule: Any, steps: int, *, start: int = 0) -> list[float]:
    if not isinstance(schedule, import_paddle().optimizer.lr.LRScheduler):
        return [float(schedule)] * steps
    by_metric = isinstance(schedule, import_paddle().optimizer.lr.ReduceOnPlateau)
    rates = []
    for number in range(start, start + steps):
        rates.append(float(schedule()))
        if by_metric:
            schedule.step(max(0.5, 1.0 - 0.1 * number))
        else:
            schedule.step()
    return rates


@promise("schedule", name="returns", text="It returns a rate above 0 or a paddle.optimizer.lr.LRScheduler.")
def returns(subject: Subject) -> None:
    """Look at its class."""
    found = subject.made()
    scheduler = isinstance(found, import_paddle().optimizer.lr.LRScheduler)
    number = isinstance(found, float) and math.isfinite(found) and found > 0
    require(scheduler or number, expected="a rate above 0 or an LRScheduler", got=repr(found))


@promise("schedule", name="metric", text="A ReduceOnPlateau says in `metric` which metric it follows.")
def metric(subject: Subject) -> None:
    """Look at the attribute."""
    if not isinstance(subject.made(), import_paddle().optimizer.lr.ReduceOnPlateau):
        raise NotApplicable("it follows no metric")
    found = getattr(subject.made(), "metric", None)
    require(isinstance(found, str), expected="an attribute metric: str, such as 'valid/loss'", got=repr(found))


@promise("schedule", name="sound", text="Its rates are finite and not below 0, nor all 0, in trainings of any length.")
def sound(subject: Subject) -> None:
    """Try several lengths, and one step more than there are."""
    for epochs, steps_per_epoch in _LENGTHS:
        given = {**supplied("schedule", None), "epochs": epochs, "steps_per_epoch": steps_per_epoch}
        steps = epochs * steps_per_epoch
        try:
            schedule = subject.build(**given)
        except ConfigError:  # its options are not for such a training
            continue
        rates = _rates(schedule, steps + 1)
        bad = [rate for rate in rates if not (math.isfinite(rate) and rate >= 0)]
        where = f"{epochs} epochs of {steps_per_epoch} steps"
        require(not bad, expected=f"rates of 0 or above in {where}", got=bad[:5])
        require(max(rates[:steps]) > 0, expected=f"a rate above 0 in {where}", got="0 in every step")


@promise("schedule", name="deterministic", text="Two that are built of the same options give the same rates.")
def deterministic(subject: Subject) -> None:
    """Build it again."""
    first, second = _rates(subject.make(), _TOTAL), _rates(subject.make(), _TOTAL)
    require(first == second, expected=f"the rates {first[:5]} ... again", got=f"{second[:5]} ...")


@promise(
    "schedule",
    name="state",
    text="One that takes the state_dict of another, through JSON, goes on as that one would have.",
)
def state(subject: Subject) -> None:
    """Stop half-way."""
    half, resumed = _scheduler(subject), _scheduler(subject)
    _rates(half, _TOTAL // 2)
    resumed.set_state_dict(json.loads(json.dumps(half.state_dict())))
    wanted, rest = (_rates(each, _TOTAL // 2, start=_TOTAL // 2) for each in (half, resumed))
    mend = "keep what changes in plain attributes that state_dict() has; see LRScheduler.state_keys"
    require(rest == wanted, expected=f"the rates {wanted[:5]} ...", got=f"{rest[:5]} ...", mend=mend)


@uses("schedule")
def _use(spec: DataSpec | None, schedule: Any) -> None:
    rates = _rates(schedule, _TOTAL)
    if not all(map(math.isfinite, rates)):
        raise ValueError(f"rates that are not finite: {rates[:5]}")
