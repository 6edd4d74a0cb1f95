"""What rank 0 and the other ranks tell each other through their pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expkit.spec import Array

# What a rank answers.
READY, DONE, NOT_FINITE = "ready", "done", "not finite"


@dataclass(frozen=True)
class Order:
    """What a rank is, told first of all.

    Attributes:
        rank: of the process.
        size: number of ranks.
        config: of the run, resolved, as YAML.
        choices: chosen option of each config group.
        overrides: what the user typed.
        path: where modules are found, as in rank 0.
    """

    rank: int
    size: int
    config: str
    choices: Mapping[str, str]
    overrides: Sequence[str]
    path: Sequence[str]


@dataclass(frozen=True)
class Failed:
    """What went wrong in a rank, which ends with that.

    Attributes:
        text: in one line.
        trace: where.
    """

    text: str
    trace: str


@dataclass(frozen=True)
class Part:
    """What a rank computed of a batch.

    Attributes:
        outputs: of its samples; None where it had none of its own.
        targets: of its samples.
    """

    outputs: Array | None
    targets: Array | None
