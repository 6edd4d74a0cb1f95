"""An earlier run, as its folder tells of it: to go on with it, measure it again, or ask its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expkit import config
from expkit.callbacks import checkpoints_in
from expkit.checkpoint import CheckpointFolder
from expkit.config import ExperimentConfig
from expkit.errors import ConfigError, RunNotFoundError, did_you_mean
from expkit.identity import LEFT_OUT, config_hash, flat, going_on, is_left_out
from expkit.masking import is_masked
from expkit.preprocess import from_description
from expkit.runs import read_record
from expkit.secret_names import is_secret_name
from expkit.spec import DataSource, DataSpec

CHANGEABLE = (
    *("trainer.epochs", "device.", "trainer.devices"),
    *("trainer.on_nonfinite", "trainer.nonfinite_limit", "trainer.rollback_factor"),
    *(name for name in LEFT_OUT if name != "runs_dir"),
)
"""What a resumed run may do otherwise; all else would make it another run."""


@dataclass(frozen=True)
class PastRun:
    """What the folder of a run holds.

    Attributes:
        folder: the run folder.
        record: `run.json`.
        config: the experiment, with the changes that were asked for.
        changes: these, as the user typed them.
    """

    folder: Path
    record: dict[str, Any]
    config: ExperimentConfig
    changes: tuple[str, ...]

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Its checkpoints."""
        return checkpoints_in(self.folder)

    def spec(self) -> DataSpec:
        """Return the spec of its data without reading the data.

        Raises:
            ConfigError: only the dataset's plugin knows how its inputs are read.
        """
        data = self.record["data"]
        try:
            read, target = from_description(data["input"]), from_description(data["target"])
            return DataSpec(data["name"], read, target, DataSource(**data["source"]), data["fingerprint"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.folder} does not tell how its data is read: {error}.") from error

    def check_data(self, spec: DataSpec) -> None:
        """Refuse other data than the run was trained on.

        Raises:
            ConfigError: the fingerprints differ.
        """
        check_same_data(self.record["data"], spec)


def check_same_data(before: Mapping[str, Any], spec: DataSpec) -> None:
    """Refuse other data than a run was trained on.

    Args:
        before: what its record says of its data.
        spec: of the data that is here.

    Raises:
        ConfigError: the fingerprints differ.
    """
    if spec.fingerprint != before["fingerprint"]:
        raise ConfigError(
            f"the data is not that of the run: {spec.name} ({spec.source.kind}: {spec.source.location}) has the "
            f"fingerprint {spec.fingerprint[:12]}..., the run was trained on {before['name']} "
            f"({before['source']['kind']}: {before['source']['location']}) with {before['fingerprint'][:12]}.... "
            "Bring that data back (dataset.root, EXPKIT_DATA_DIR), or start a new run."
        )


def read_past(folder: Path, changes: Sequence[str] = (), secrets: Mapping[str, Any] | None = None) -> PastRun:
    """Read a run folder.

    Args:
        folder: with `run.json` and `config.yaml`.
        changes: "key=value" for what a resumed run may do otherwise than before.
        secrets: a resolved config that has what is not recorded.

    Raises:
        RunNotFoundError: the folder is none, or its files cannot be read.
        ConfigError: a change would make it another run, or cannot be made.
    """
    then = _options(folder)
    for change in changes:
        check_change(change, then=then)
    return _at_home(read_changed(folder, changes, secrets))


def _at_home(past: PastRun) -> PastRun:
    """Let a run whose folder was moved, or is named from elsewhere, belong to the runs folder that it lies in."""
    folder, runs_dir = past.folder.resolve(), past.config.runs_dir
    if folder.is_relative_to(runs_dir.resolve()):
        return past
    around = next((parent for parent in folder.parents if (parent / "mlflow.db").is_file()), None)
    return past if around is None else replace(past, config=replace(past.config, runs_dir=around))


def _options(folder: Path) -> dict[str, Any]:
    """Return what a run was made of: {"model": "mlp", "model.hidden": [64], ...}; nothing where that cannot be read."""
    try:
        resolved = config.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        return {**flat(resolved), **read_record(folder)["choices"]}
    except (OSError, KeyError, ValueError, AttributeError, RunNotFoundError):  # it is said when the run is read
        return {}


def read_changed(folder: Path, changes: Sequence[str] = (), secrets: Mapping[str, Any] | None = None) -> PastRun:
    """Read a run folder as `read_past` does, whatever is changed.

    Raises:
        RunNotFoundError: the folder is none, or its files cannot be read.
        ConfigError: a change cannot be made.
    """
    record = read_record(folder)
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        if not text.strip() or "choices" not in record:
            raise ValueError("run.json lacks what was chosen" if text.strip() else "config.yaml is empty")
        overrides = tuple(str(one) for one in config.from_yaml((folder / "overrides.yaml").read_text(encoding="utf-8")))
        choices = dict(record["choices"])
    except (OSError, KeyError, ValueError) as error:
        raise RunNotFoundError(f"{folder} does not say how its run was made: {error}.") from error
    made = config.stored(text, choices=choices, overrides=overrides, changes=changes, secrets=secrets, folder=folder)
    return PastRun(folder, record, made, tuple(changes))


def read_followed(folder: Path, now: ExperimentConfig) -> PastRun:
    """Read a run folder as `read_past` does, for another command that goes on with the run.

    Args:
        folder: of the run.
        now: the config of that command, whose options are taken where they change nothing of what is learned.

    Raises:
        RunNotFoundError: the folder is none, or its files cannot be read.
    """
    past = read_changed(folder, secrets=now.resolved)
    if config_hash(past.config.resolved) == config_hash(now.resolved):
        return replace(past, config=now)
    own = {group: name for group, name in now.choices.items() if is_left_out(f"{group}.")}
    made = config.stored(
        config.to_yaml(going_on(past.config.resolved, now.resolved)),
        choices={**past.config.choices, **own},
        overrides=past.config.overrides,
        folder=folder,
    )
    return replace(past, config=made)


def check_secrets(past: PastRun) -> None:
    """Refuse to build the parts of a run with what stands for a secret.

    Raises:
        ConfigError: something was not recorded, and is not here; says how to give it.
    """
    lacking = [key for key, value in flat(past.config.resolved).items() if is_masked(value)]
    lacking = [key for key in lacking if not key.startswith("tracking.")]  # the store says it itself
    if lacking:
        recorded = flat(config.from_yaml((past.folder / "config.yaml").read_text(encoding="utf-8")))
        told = [f"{key} ({recorded[key]})" for key in lacking if "${" in str(recorded.get(key))]
        of_variables = f" In the environment it would be found again: {', '.join(told)}." if told else ""
        raise ConfigError(
            f"{', '.join(lacking)}: secrets are not recorded.{of_variables} Give it again: python -m expkit resume "
            f"{past.folder} {lacking[0]}=..."
        )


def check_resumable(past: PastRun, checkpoint: str | None = None) -> None:
    """Refuse a run that has nothing left to train.

    Args:
        past: the run.
        checkpoint: that it is to go on from; None for the last one. What came after another one can be done again.

    Raises:
        ConfigError: it is done; says how to train on.
    """
    if checkpoint is not None and past.checkpoints.path(checkpoint) != past.checkpoints.path("last"):
        return
    done, wanted = int(past.record.get("epochs") or 0), past.config.trainer.epochs
    if past.record.get("status") == "FINISHED" and done >= wanted:
        raise ConfigError(
            f"{past.folder} has nothing left to train: its {done} epochs are done. "
            f"More of them: python -m expkit resume {past.folder} trainer.epochs={done + 5}"
        )
    if past.record.get("stopped"):
        raise ConfigError(
            f"{past.folder} has nothing left to train: it was stopped after epoch {done}: {past.record['stopped']}."
        )


def is_changeable(key: str, changeable: Sequence[str] = CHANGEABLE) -> bool:
    """Whether a run is still the same when an option of it changes."""
    return key in changeable or any(key.startswith(start) for start in changeable if start.endswith("."))


def check_change(change: str, changeable: Sequence[str] = CHANGEABLE, *, then: Mapping[str, Any] | None = None) -> None:
    """Refuse a change that would make a run another one.

    Args:
        change: as the user typed it.
        changeable: options, and with a dot at the end groups of options, that may change.
        then: what was recorded of the run, by name.

    Raises:
        ConfigError: it would; says what may change.
    """
    key, equals, now = change.partition("=")
    if not equals or key.startswith(("+", "~", "-")):
        raise ConfigError(f"{change!r}: a change is written key=value, such as trainer.epochs=10.")
    if is_changeable(key, changeable):
        return
    known = then or {}
    if is_secret_name(key) or is_masked(known.get(key)) or "${oc.env:" in str(known.get(key)):
        return  # it was not recorded, and changes nothing of what is learned
    names = [name if not name.endswith(".") else f"{name}*" for name in changeable]
    inside = f" Its options may change one by one: {key}.NAME=VALUE." if f"{key}." in changeable else ""
    near = inside or did_you_mean(key, changeable)
    was = f" ({key} was {known[key]!r}, would be {now})" if key in known else ""
    raise ConfigError(
        f"{change!r}: with another {key} it would be another run{was}.{near} What may change is {', '.join(names)}. "
        "For anything else start a new run."
    )
