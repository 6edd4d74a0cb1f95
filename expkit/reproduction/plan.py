"""How a run is done again: to its end, or as far as it came; in parts where its options changed on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from expkit import experiment
from expkit.errors import ConfigError
from expkit.past import check_secrets, read_changed
from expkit.reproduction.recorded import Recorded

MAY_CHANGE = ("dataset.root", "device.", "tracking.", "export.", "plots.", "trainer.progress")
"""What a reproduction may do otherwise: where the data lies (its fingerprint is checked), and what is no result."""


@dataclass(frozen=True)
class Part:
    """One start of the run.

    Attributes:
        changes: "key=value" against the record in the first part, against the part before in the others.
        last_step: pause after it; None to go to the end.
    """

    changes: tuple[str, ...]
    last_step: int | None


@dataclass(frozen=True)
class Plan:
    """All that has to be known to do a run again, also in another process.

    Attributes:
        recorded: folder with the record of the run.
        folder: the new run folder.
        parts: in this order.
    """

    recorded: Path
    folder: Path
    parts: tuple[Part, ...]

    def as_json(self) -> str:
        """Return it as text for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `as_json` wrote."""
        values = json.loads(text)
        parts = tuple(Part(tuple(part["changes"]), part["last_step"]) for part in values["parts"])
        return cls(Path(values["recorded"]), Path(values["folder"]), parts)


def make_plan(recorded: Recorded, folder: Path, changes: Sequence[str], steps: int | None) -> Plan:
    """Say how a run is done again.

    A run that went on with other options (more epochs) is done in parts, each with the options of then: a schedule that
    falls towards the last epoch depends on them from the first step on.

    Args:
        recorded: the run.
        folder: the new run folder.
        changes: what is to be otherwise than recorded.
        steps: compare only so many; None for all.

    Raises:
        ConfigError: there is nothing to compare with.
    """
    end = _last_step(recorded, steps)
    fixed = {change.partition("=")[0] for change in changes}
    on_the_way = [
        (int(one["step"]), {key: pair for key, pair in one["config"].items() if key not in fixed})
        for one in recorded.record.get("resumed_otherwise", ())
        if one.get("config") and (end is None or int(one["step"]) < end)
    ]
    starts: list[tuple[str, ...]] = [(*_from_the_start(recorded), *changes)]
    starts += [tuple(f"{key}={json.dumps(now)}" for key, (_, now) in changed.items()) for _, changed in on_the_way]
    ends = [*(step for step, _ in on_the_way), end]
    return Plan(recorded.folder, folder, tuple(Part(*part) for part in zip(starts, ends, strict=True)))


def perform(plan: Plan, console: Console | None = None) -> None:
    """Do the run again.

    Raises:
        ExpkitError: as `experiment.run` does; other data than the run's is refused before anything is written.
        Stopped: somebody asked to stop.
    """
    first, *others = plan.parts
    past = read_changed(plan.recorded, first.changes)
    check_secrets(past)
    data = past.record["data"]
    experiment.run(past.config, plan.folder, console, last_step=first.last_step, data=data)
    for part in others:
        experiment.resume(plan.folder, part.changes, console, last_step=part.last_step, secrets=past.config.resolved)


def _last_step(recorded: Recorded, steps: int | None) -> int | None:
    """Return the step after which there is nothing to compare with; None where the run ends by itself."""
    if recorded.stopped_by_itself:
        return None if steps is None else min(steps, recorded.last_step or steps)
    if not recorded.last_step:
        raise ConfigError(
            f"{recorded.id} did no step that is recorded ({recorded.status.lower()}), so there is nothing to compare "
            "with. Run its config anew: its command is in the run's page in MLflow, and in overrides.yaml."
        )
    return min(steps or recorded.last_step, recorded.last_step)


def _from_the_start(recorded: Recorded) -> list[str]:
    """Return changes of the config as it was left that make it what it was when the run began."""
    back: dict[str, Any] = {"trainer.stop_after": None, "trainer.auto_resume": False}
    for one in reversed(recorded.record.get("resumed_otherwise", ())):
        back.update({key: then for key, (then, _) in one.get("config", {}).items()})
    return [f"{key}={json.dumps(value)}" for key, value in back.items() if _has(recorded.options, key)]


def _has(options: Any, key: str) -> bool:
    first, dot, rest = key.partition(".")
    return first in options and (not dot or _has(options[first], rest))
