"""What a search came to: its best trials, and the command that repeats them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.config import from_yaml, to_yaml
from expkit.files import write_whole
from expkit.masking import masked_values, recordable_override
from expkit.progress import show_value
from expkit.report import quote_path
from expkit.sweeping.search.objectives import PARAMETERS, Objective
from expkit.sweeping.search.source import FOLDER, JOB, OVERRIDES

if TYPE_CHECKING:
    import optuna

RESULTS = "optimization_results.yaml"


@dataclass(frozen=True)
class Best:
    """A trial that no other one beats.

    Attributes:
        trial: its number in the study.
        folder: its run folder.
        values: by objective.
        overrides: what makes it, as typed.
    """

    trial: int
    folder: Path
    values: Mapping[str, float]
    overrides: tuple[str, ...]

    def parameters(self) -> dict[str, Any]:
        """Return its parameters as plain values."""
        return {key: _plain(text) for key, _, text in (one.partition("=") for one in self.overrides)}

    def command(self, shared: Sequence[str]) -> str:
        """Return what repeats it on the command line.

        Args:
            shared: overrides of all trials.
        """
        return f"python -m expkit {shlex.join(map(recordable_override, (*shared, *self.overrides)))}"


def best(study: optuna.Study, objectives: Sequence[Objective]) -> list[Best]:
    """Return the best trial, or all of the Pareto front in the order of the first objective; empty where none ended."""
    ended = any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))
    winners = study.best_trials if len(objectives) > 1 else [study.best_trial] if ended else []
    found = []
    for trial in winners:
        attributes, values = trial.user_attrs, trial.values or ()
        folder = Path(attributes.get(FOLDER, "."), str(attributes.get(JOB, trial.number)))
        typed = tuple(attributes.get(OVERRIDES) or (f"{key}={value}" for key, value in trial.params.items()))
        names = [one.name for one in objectives]
        found.append(Best(trial.number, folder, dict(zip(names, values, strict=True)), typed))
    first = objectives[0]
    return sorted(found, key=lambda one: one.values[first.name], reverse=first.higher_is_better)


def write_results(file: Path, found: Sequence[Best], objectives: Sequence[Objective]) -> None:
    """Write `optimization_results.yaml` in the form of Hydra's own Optuna sweeper.

    Raises:
        OSError: it cannot be written.
    """
    results: dict[str, Any] = {"name": "optuna"}
    if len(objectives) > 1:
        results["solutions"] = [{"params": one.parameters(), "values": list(one.values.values())} for one in found]
    elif found:
        results |= {"best_params": found[0].parameters(), "best_value": next(iter(found[0].values.values()))}
    write_whole(file, to_yaml(masked_values(results)))


def lines(found: Sequence[Best], shared: Sequence[str], counts: Mapping[str, int], sweep: Path) -> list[str]:
    """Say which trials are the best, and how to repeat them.

    Args:
        found: the best trials.
        shared: overrides of all trials.
        counts: trials by how they ended.
        sweep: whose end it is; other sweeps may share its study.
    """
    said = ["trials      " + (", ".join(f"{count} {how}" for how, count in counts.items() if count) or "none")]
    if not found:
        return [*said, "No trial ended with a value, so that none is the best."]
    if len(found) > 1:
        said.append(f"best        {len(found)} trials; none is better than another in every objective")
    for one in found[:5]:
        values = "  ".join(f"{name} {_shown(name, value)}" for name, value in one.values.items())
        job = f"job {one.folder.name}"
        if one.folder.parent not in (Path(), sweep.absolute()):
            job += f" of another sweep, {quote_path(one.folder.parent)}"
        said.append(f"{'best' if len(found) == 1 else '':<11} {job}: {values}")
        said.append(f"{'':<11} {'  '.join(_short(typed) for typed in one.overrides)}")
    if len(found) > 5:
        said.append(f"{'':<11} ... and {len(found) - 5} more in {RESULTS}")
    which = "it" if len(found) == 1 else "the first"
    return [*said, "", f"Repeat {which}:", f"  {found[0].command(shared)}"]


def counts(study: optuna.Study) -> dict[str, int]:
    """Count the trials by how they ended."""
    words = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "not ended"}
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    return {word: states.count(state) for state, word in words.items() if state in states}


def _plain(text: str) -> Any:
    try:
        return from_yaml(f"x: {text}")["x"]
    except ValueError:
        return text


def _short(override: str) -> str:
    """Write optimizer.learning_rate=0.003860866271460547 as optimizer.learning_rate=0.003861, to be read only."""
    key, _, text = override.partition("=")
    value = _plain(text)
    return f"{key}={value:.4g}" if isinstance(value, float) else override


def _shown(name: str, value: float) -> str:
    return f"{value:,.0f}" if name == PARAMETERS else show_value(value)
