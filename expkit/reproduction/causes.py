"""What differs between then and now, and may be why a run came out otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit.identity import differences
from expkit.record_files import changed_values, git_change
from expkit.reproduction.comparing import Difference
from expkit.reproduction.recorded import Recorded
from expkit.reproduction.work_tree import CodeChange

ANYTHING, ROUNDING, HARDLY = "anything", "rounding", "hardly anything"
_UNLIKELY = {"mlflow", "hydra-core", "omegaconf"}
_MACHINE = {
    "device": "device",
    "gpu": "GPU",
    "processor": "CPU",
    "tuning.tune.mkl_cpu_type": "CPU tuning (MKL_DEBUG_CPU_TYPE)",
    "tuning.tune.malloc": "CPU tuning (malloc)",
    "platform": "system",
}
_ROUNDING_OPTIONS = ("device.", "trainer.eval_batch_size", "trainer.to_static")


@dataclass(frozen=True)
class Cause:
    """Something that is otherwise than it was.

    Attributes:
        what: such as "numpy", "device", "code", "option seed".
        then: what it was.
        now: what it is.
        reach: what it can change: `ANYTHING`, the `ROUNDING` of numbers, `HARDLY` anything.
    """

    what: str
    then: str
    now: str
    reach: str

    def as_dict(self) -> dict[str, str]:
        """Plain values, for `reproduction.json`."""
        return {"what": self.what, "then": self.then, "now": self.now, "may_change": self.reach}


def find_causes(then: Recorded, now: Recorded, code: CodeChange | None) -> list[Cause]:
    """Return all that differs between the records of a run and its reproduction.

    Args:
        then: the run.
        now: its reproduction.
        code: how the code differs; None where it does not.
    """
    found = list(_options(then, now))
    if code is not None and code.matters:
        found.append(Cause("code", code.then, _code_now(code), ANYTHING))
    return [*found, *environment_causes(then.environment, now.environment), *_resumed(then)]


def environment_causes(then: Any, now: Any) -> list[Cause]:
    """Return how versions and machine differ, of two `environment.json`."""
    found = []
    changed = changed_values(then, now)
    if "device" in changed:
        changed.pop("gpu", None)  # it goes without saying
    for key in sorted(changed, key=lambda key: list(_MACHINE).index(key) if key in _MACHINE else len(_MACHINE)):
        (before, after), (group, _, name) = changed[key], key.partition(".")
        if group in ("versions", "plugins"):
            if before is None:  # of no use then, or not recorded by the expkit of then
                continue
            reach = HARDLY if name in _UNLIKELY else ANYTHING
            found.append(Cause(name, str(before), "not installed" if after is None else str(after), reach))
        elif group == "expkit" and before is not None and after is not None:
            found.append(Cause(f"expkit's own code ({name})", str(before), str(after), ANYTHING))
        elif key == "python":
            found.append(Cause("Python", str(before), str(after), ANYTHING))
        elif key in _MACHINE:
            reach = HARDLY if key in ("platform", "tuning.tune.malloc") else ROUNDING
            found.append(Cause(_MACHINE[key], _text(before), _text(after), reach))
    return found


def likely(causes: Sequence[Cause], first: Difference | None) -> list[Cause]:
    """Order causes by how well they explain the first difference; those that explain nothing come last.

    Args:
        causes: all that differs.
        first: the first value that differs: by rounding, or by more than that.
    """
    order = [ROUNDING, ANYTHING] if first is not None and first.is_rounding else [ANYTHING, ROUNDING]
    return sorted(causes, key=lambda cause: [*order, HARDLY].index(cause.reach))


def pip_command(then: Any, now: Any) -> str:
    """Return the command that brings the versions of then back; empty where pip has nothing to do.

    Args:
        then: `environment.json` of the run.
        now: that of today.
    """
    wanted, removed = [], []
    for key, (before, _) in changed_values(then, now).items():
        group, _, name = key.partition(".")
        if group not in ("versions", "plugins") or name == "expkit":  # expkit's own version is part of the code
            continue
        if before is not None:
            wanted.append(f"{name}=={before}")
        elif name.startswith("paddlepaddle"):  # the CPU and the GPU build are two packages of the same modules
            removed.append(name)
    first = f"pip uninstall -y {' '.join(removed)} && " if removed and wanted else ""
    return f"{first}pip install {' '.join(wanted)}" if wanted else ""


def _options(then: Recorded, now: Recorded) -> Iterator[Cause]:
    if then.record.get("seed") != now.record.get("seed"):
        what = "seed (run.json and config.yaml of the run disagree)"
        yield Cause(what, str(then.record.get("seed")), str(now.record.get("seed")), ANYTHING)
    on_the_way = {key for one in then.record.get("resumed_otherwise", ()) for key in one.get("config", {})}
    for key, (before, after) in differences(then.options, now.options).items():
        if key in on_the_way:  # the plan brings it back, at its step
            continue
        reach = ROUNDING if key.startswith(_ROUNDING_OPTIONS) else ANYTHING
        yield Cause(f"option {key}", _text(before), _text(after), reach)


def _resumed(then: Recorded) -> Iterator[Cause]:
    """Say where the run itself went on under other circumstances, which one start cannot bring back."""
    for resumption in then.record.get("resumed_otherwise", ()):
        for cause in environment_causes(*_pair(resumption.get("environment", {}))):
            what = f"{cause.what}, in the run itself from step {resumption['step']}"
            yield Cause(what, cause.then, cause.now, cause.reach)
        code = git_change(resumption.get("environment", {}))
        if code is not None:
            yield Cause(f"code, in the run itself from step {resumption['step']}", *code, ANYTHING)


def _pair(changed: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turn {"versions.numpy": [old, new]} back into two environments."""
    sides: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for key, values in changed.items():
        group, dot, name = key.partition(".")
        for side, value in zip(sides, values, strict=True):
            if dot:
                side.setdefault(group, {})[name] = value
            else:
                side[key] = value
    return sides


def _code_now(code: CodeChange) -> str:
    return str(code).partition(" -> ")[2]


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
