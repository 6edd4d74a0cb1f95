"""How a run is opened in the tracking store: its parameters, its tags, its name."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit import provenance, tracking
from expkit.api import Learner
from expkit.config import ExperimentConfig
from expkit.identity import config_hash
from expkit.masking import masked, recordable_override
from expkit.preparation import Prepared
from expkit.record_files import git_facts
from expkit.runs import run_id


def begin_tracker(
    config: ExperimentConfig,
    prepared: Prepared,
    folder: Path,
    environment: Mapping[str, Any],
    git: provenance.GitState | None,
    courier: tracking.Courier | None = None,
) -> tracking.Tracker:
    """Begin a run in its folder and in the store, to which `courier` or a thread of this process sends.

    Raises:
        TrackingError: the store cannot be used; nothing was written.
        OSError: the folder cannot be written.
    """
    spec, chosen = prepared.data.spec, config.tracking
    tags = {
        "data.name": spec.name,
        "data.source": f"{spec.source.kind}: {spec.source.location}",
        "data.fingerprint": spec.fingerprint,
        "device": prepared.device,
        "run.folder": str(folder.absolute()),
        "command": command(config),
        "config.hash": config_hash(config.resolved),
        "monitor": str(prepared.monitor),
        **{f"version.{name}": version for name, version in environment["versions"].items()},
        **{f"git.{key}": str(value) for key, value in git_facts(git).items() if key != "prefix"},
        **prepared.tuning,
        **learner_tags(prepared.learner),
        **chosen.tags,
    }
    if spec.source.stand_in_for:
        tags["data.stand_in_for"] = spec.source.stand_in_for
    if git is not None:
        tags["mlflow.source.git.commit"] = git.commit
    store = store_settings(config, prepared, folder)
    params, identity = config.parameters(), run_id(folder)
    return tracking.open_tracker(store, folder, params=params, tags=tags, identity=identity, courier=courier)


def learner_tags(learner: Learner) -> Mapping[str, str]:
    """Return what a learner wants to be known of it, if it has a method `tags`; it may say otherwise later."""
    tags: Mapping[str, str] = getattr(learner, "tags", dict)()
    return tags


def store_settings(config: ExperimentConfig, prepared: Prepared, folder: Path) -> tracking.StoreSettings:
    """Return where and under which name a run is tracked."""
    spec, chosen = prepared.data.spec, config.tracking
    names = [c.name for c in (config.model, config.optimizer) if c is not None] or [config.learner.name]
    told = f"{spec.name}: " if spec.source.stand_in_for else ""
    label = told + "-".join([*names, run_id(folder).rpartition("-")[2]])
    return tracking.StoreSettings(
        uri=chosen.uri,
        experiment=chosen.experiment or config.name,
        run_name=chosen.run_name or label,
        runs_dir=config.runs_dir.absolute(),
        artifact_root=(config.runs_dir / "mlartifacts").absolute(),
        metrics=tuple(config.metrics),
        enabled=chosen.kind != "none",
        required=chosen.required,
    )


def command(config: ExperimentConfig) -> str:
    """Return the command line that repeats a run, without passwords."""
    return masked(shlex.join(["python", "-m", "expkit", *map(recordable_override, config.overrides)]))
