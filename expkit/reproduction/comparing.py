"""Two records of the same run: where they part first, and how far they are apart at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from expkit.reproduction.recorded import Recorded

NEAR = 1e-4
"""Relative difference below which two losses differ by rounding: float32 has 7 digits, and a batch sums thousands."""


@dataclass(frozen=True)
class Difference:
    """A value that came out otherwise.

    Attributes:
        place: "step 12", "epoch 3" or "the end".
        metric: such as "loss", "valid/accuracy" or "test/accuracy".
        then: the value that was recorded; None where there was none.
        now: the value of the reproduction; None where there is none.
    """

    place: str
    metric: str
    then: float | None
    now: float | None

    @property
    def relative(self) -> float:
        """Difference relative to the larger of the two; infinite where one is missing or not finite."""
        if self.then is None or self.now is None or not math.isfinite(self.then) or not math.isfinite(self.now):
            return math.inf
        return abs(self.then - self.now) / max(abs(self.then), abs(self.now))

    @property
    def is_rounding(self) -> bool:
        """Whether another order of additions explains it."""
        return self.relative < NEAR


@dataclass(frozen=True)
class Comparison:
    """What came out when a run was done again.

    Attributes:
        compared: how many values: {"steps": 120, "epochs": 3, "final": 5}.
        differing: how many of these steps, epochs and final metrics differ.
        first: the first value that differs, in the order of training.
        final: the final metrics that differ.
        ends: how it ended then and now, where that differs; else None.
    """

    compared: Mapping[str, int]
    differing: Mapping[str, int]
    first: Difference | None
    final: tuple[Difference, ...]
    ends: tuple[str, str] | None

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return self.first is None and not self.final and self.ends is None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `reproduction.json`."""
        first = self.first
        return {
            "verdict": "identical" if self.identical else "differs",
            "compared": dict(self.compared),
            "differing": dict(self.differing),
            "first": None
            if first is None
            else {"place": first.place, "metric": first.metric, "then": first.then, "now": first.now},
            "final": {one.metric: [one.then, one.now] for one in self.final},
            "ends": None if self.ends is None else list(self.ends),
        }


def compare(then: Recorded, now: Recorded, last_step: int | None = None) -> Comparison:
    """Compare every value that both runs recorded: exactly; NaN equals NaN.

    Args:
        then: the run.
        now: its reproduction.
        last_step: where the reproduction was told to pause; None when it was to go as far as it comes.
    """
    steps = list(_step_differences(then, now, last_step))
    epochs = list(_epoch_differences(then, now, partly=last_step is not None))
    whole = last_step is None and then.status == now.status == "FINISHED"
    final = tuple(_final_differences(then.record, now.record)) if whole else ()
    compared = {
        "steps": sum(1 for step in then.steps if step <= (last_step or step) and step in now.steps),
        "epochs": sum(1 for epoch in then.epochs if epoch in now.epochs),
        "final": len(_finals(then.record)) if whole else 0,
    }
    differing = {
        "steps": len({one.place for _, one in steps}),
        "epochs": len({one.place for _, one in epochs}),
        "final": len(final),
    }
    ordered = sorted([*steps, *epochs], key=lambda pair: pair[0])
    first = ordered[0][1] if ordered else (final[0] if final else None)
    return Comparison(compared, differing, first, final, None if last_step else _ends(then, now))


Ordered = tuple[tuple[float, int], Difference]
"""A difference with its position: (epochs since the start, 0 for a step and 1 for the validation behind it)."""


def _step_differences(then: Recorded, now: Recorded, last_step: int | None) -> Iterator[Ordered]:
    last = min(last_step or then.last_step, then.last_step)
    if then.sampled:
        steps = [step for step in then.steps if step <= last]
    else:
        further = now.last_step if last_step is None and then.stopped_by_itself else last
        steps = sorted(step for step in {*then.steps, *now.steps} if step <= max(last, further))
    per_epoch = int(now.record.get("steps_per_epoch") or 0)
    for step in steps:
        mine, theirs = then.steps.get(step, {}), now.steps.get(step, {})
        # The rate of a step is known before its loss.
        for metric in ("learning_rate", "loss"):
            if not same(mine.get(metric), theirs.get(metric)):
                position = step / per_epoch if per_epoch else 0.0
                place = f"step {step}" + (f" (epoch {math.ceil(position)})" if per_epoch else "")
                yield (position, 0), Difference(place, metric, mine.get(metric), theirs.get(metric))


def _epoch_differences(then: Recorded, now: Recorded, *, partly: bool) -> Iterator[Ordered]:
    epochs = [epoch for epoch in then.epochs if epoch in now.epochs or not partly]
    for epoch in epochs:
        mine, theirs = then.epochs[epoch], now.epochs.get(epoch, {})
        for metric in dict.fromkeys((*mine, *theirs)):
            if not same(mine.get(metric), theirs.get(metric)):
                yield (epoch, 1), Difference(f"epoch {epoch}", metric, mine.get(metric), theirs.get(metric))


def _finals(record: Mapping[str, Any]) -> dict[str, float]:
    return {**record.get("metrics", {}), "best epoch": record.get("best_epoch")}


def _final_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    mine, theirs = _finals(then), _finals(now)
    for metric in dict.fromkeys((*mine, *theirs)):
        if not same(mine.get(metric), theirs.get(metric)):
            yield Difference("the end", metric, mine.get(metric), theirs.get(metric))


def _ends(then: Recorded, now: Recorded) -> tuple[str, str] | None:
    """How both ended, where the run had an end of its own and its reproduction has another."""
    if not then.stopped_by_itself:
        return None
    ends = _end(then.record), _end(now.record)
    return None if ends[0] == ends[1] else ends


def _end(record: Mapping[str, Any]) -> str:
    reason = str(record.get("stopped") or record.get("reason") or "").partition("\n")[0]  # below it, where files are
    return str(record["status"]).lower() + (f": {reason}" if reason else "")


def same(one: float | None, other: float | None) -> bool:
    """Whether two values are equal, bit by bit as far as numbers go; NaN equals NaN."""
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
