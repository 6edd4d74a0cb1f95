"""Which checkpoints of a run are kept, by the names of their folders, which say how old they are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"epoch-(\d{4,})-step-(\d{8,})(?:-(\d+))?")


@dataclass(frozen=True)
class Index:
    """What is kept, by name of the folder.

    Attributes:
        last: what `resume` goes on from.
        previous: the last one before; if the last one is damaged, this one is left.
        best: weights of the best epoch.
        previous_best: the best one when `previous` was the last.
        kept: monitored values of the best epochs, best first.
    """

    last: str | None = None
    previous: str | None = None
    best: str | None = None
    previous_best: str | None = None
    kept: dict[str, float] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Return all that are kept."""
        one = (self.last, self.previous, self.best, self.previous_best)
        return {name for name in (*one, *self.kept) if name is not None}

    def followed_by(self, name: str, *, best: bool, monitored: dict[str, Any]) -> Index:
        """Return the index with a newer checkpoint in it."""
        kept, value = dict(self.kept), monitored.get("value")
        if value is not None and not math.isnan(value):
            # A tie stays behind those that came before, as it does not make an epoch the best; sorting is stable.
            found = {**kept, name: value}
            kept = dict(sorted(found.items(), key=lambda pair: pair[1], reverse=bool(monitored["higher_is_better"])))
        return Index(name, self.last, name if best else self.best, self.best, kept)


def order(name: str) -> tuple[int, int, int]:
    """Return (step, epoch, number) of a checkpoint's name, which sort by age."""
    found = NAME.fullmatch(name)
    if found is None:
        return (-1, -1, -1)
    epoch, step, number = found.groups()
    return int(step), int(epoch), int(number or 1)
