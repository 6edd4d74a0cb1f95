"""The framework's own options, as plain typed values; the files in `conf/` document and set them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Optional  # OmegaConf reads these annotations, on Python 3.10 too

from expkit.errors import ConfigError, did_you_mean
from expkit.masking import masked, secret_in


@dataclass
class TrainerSettings:
    """How long and how to train; see conf/trainer/default.yaml."""

    epochs: int = 5
    eval_batch_size: int = 250
    limit_train_batches: Optional[int] = None  # noqa: UP045 - as above
    stop_after: Optional[int] = None  # noqa: UP045
    auto_resume: bool = False
    to_static: bool = False
    on_nonfinite: str = "stop"
    nonfinite_limit: int = 10
    rollback_factor: float = 0.5
    devices: int = 1
    devices_timeout: float = 60.0
    progress: str = "auto"


@dataclass
class DeviceSettings:
    """Where to train; see conf/device/*.yaml."""

    name: str = "auto"
    index: int = 0
    threads: int = 1
    tune: bool = True
    engine: str = "paddle"


@dataclass
class TrackingSettings:
    """What MLflow gets; see conf/tracking/*.yaml."""

    kind: str = "mlflow"
    uri: Optional[str] = None  # noqa: UP045
    required: bool = True
    experiment: Optional[str] = None  # noqa: UP045
    run_name: Optional[str] = None  # noqa: UP045
    tags: dict[str, str] = field(default_factory=dict)
    log_every: int = 1
    checkpoints: bool = True
    visualdl: bool = False
    system_metrics: bool = False
    system_metrics_every: float = 10.0


@dataclass
class CheckpointSettings:
    """When checkpoints are written and which are kept; see conf/checkpoint/default.yaml."""

    monitor: str = "auto"
    mode: str = "auto"
    every_steps: Optional[int] = None  # noqa: UP045 - as above
    every_seconds: Optional[float] = None  # noqa: UP045
    keep: int = 1
    sync_every: float = 5.0


_MAX_NAME = 200
"""Characters of what things are called in MLflow's registry."""
EXPORT_FORMATS = ("paddle", "onnx", "paddle-int8", "onnx-int8")


@dataclass
class ExportSettings:
    """Whether and how strictly the best weights are exported; see conf/export/*.yaml."""

    enabled: bool = True
    formats: list[str] = field(default_factory=lambda: ["paddle"])
    tolerance: float = 1e-4
    max_accuracy_loss: float = 0.01
    samples: int = 256
    register: Optional[str] = None  # noqa: UP045 - as above
    alias: Optional[str] = "champion"  # noqa: UP045


@dataclass
class PlotSettings:
    """Which pictures are drawn; see conf/plots/*.yaml."""

    enabled: bool = True
    mistakes: int = 25


@dataclass
class SweepSettings:
    """How the runs of a sweep are spread, and what becomes of one that fails; see conf/sweep/default.yaml."""

    devices: Any = "auto"
    jobs_per_device: int = 1
    jobs: Optional[int] = None  # noqa: UP045 - as above
    on_error: str = "continue"
    retries: int = 0
    timeout: Optional[float] = None  # noqa: UP045
    grace: float = 30.0
    resume: Optional[str] = None  # noqa: UP045
    retry_failed: bool = False


@dataclass
class Settings:
    """Root of the config. The nodes of component kinds are filled by their config groups."""

    name: str = "custom"
    seed: int = 0
    runs_dir: str = "runs"
    dataset: Any = None
    model: Any = None
    loss: Any = None
    optimizer: Any = None
    schedule: Any = None
    regularizer: Any = None
    learner: Any = None
    metrics: Any = field(default_factory=dict)
    transforms: Any = field(default_factory=dict)
    callbacks: Any = field(default_factory=dict)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    device: DeviceSettings = field(default_factory=DeviceSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    plots: PlotSettings = field(default_factory=PlotSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)


def check(settings: Settings) -> None:
    """Refuse values that a type alone does not.

    Raises:
        ConfigError: the first value out of range, with what is allowed.
    """
    at_least = {
        "trainer.epochs": (settings.trainer.epochs, 1),
        "trainer.eval_batch_size": (settings.trainer.eval_batch_size, 1),
        "trainer.limit_train_batches": (settings.trainer.limit_train_batches, 1),
        "trainer.stop_after": (settings.trainer.stop_after, 1),
        "trainer.nonfinite_limit": (settings.trainer.nonfinite_limit, 1),
        "trainer.devices": (settings.trainer.devices, 1),
        "checkpoint.every_steps": (settings.checkpoint.every_steps, 1),
        "checkpoint.keep": (settings.checkpoint.keep, 1),
        "device.index": (settings.device.index, 0),
        "device.threads": (settings.device.threads, 1),
        "tracking.log_every": (settings.tracking.log_every, 1),
        "tracking.system_metrics_every": (settings.tracking.system_metrics_every, 1),
        "plots.mistakes": (settings.plots.mistakes, 1),
        "sweep.jobs_per_device": (settings.sweep.jobs_per_device, 1),
        "sweep.jobs": (settings.sweep.jobs, 1),
        "sweep.retries": (settings.sweep.retries, 0),
        "seed": (settings.seed, 0),
    }
    for key, (number, low) in at_least.items():
        if number is not None and number < low:
            raise ConfigError(f"{key}={number}: must be at least {low}.")
    if settings.seed >= 2**32:
        raise ConfigError(f"seed={settings.seed}: must be below 2**32 (4294967296), the most that NumPy takes.")
    one_of = {
        "trainer.on_nonfinite": (settings.trainer.on_nonfinite, ("stop", "skip", "rollback")),
        "trainer.progress": (settings.trainer.progress, ("auto", "bar", "plain", "off")),
        "device.name": (settings.device.name, ("auto", "cpu", "gpu")),
        "device.engine": (settings.device.engine, ("paddle", "onednn")),
        "tracking.kind": (settings.tracking.kind, ("mlflow", "none")),
        "checkpoint.mode": (settings.checkpoint.mode, ("auto", "min", "max")),
        "sweep.on_error": (settings.sweep.on_error, ("continue", "stop")),
    }
    for key, (word, allowed) in one_of.items():
        if word not in allowed:
            raise ConfigError(f"{key}={word}: must be one of {', '.join(allowed)}.")
    check_export(settings.export)
    _check_reals(settings)
    _check_names(settings)


def check_export(settings: ExportSettings) -> None:
    """Refuse what models cannot be exported by.

    Raises:
        ConfigError: the first value that is not allowed, with what is.
    """
    formats = settings.formats
    unknown = [name for name in formats if name not in EXPORT_FORMATS]
    if unknown:
        near = did_you_mean(unknown[0], EXPORT_FORMATS)
        raise ConfigError(f"export.formats: there is no {unknown[0]!r}.{near} Known: {', '.join(EXPORT_FORMATS)}.")
    if not formats:
        raise ConfigError("export.formats=[]: must name one. To export nothing: export=none.")
    if len(set(formats)) < len(formats):
        raise ConfigError(f"export.formats=[{','.join(formats)}]: one stands twice.")
    if not settings.tolerance > 0:
        raise ConfigError(f"export.tolerance={settings.tolerance}: must be greater than 0.")
    if not 0 <= settings.max_accuracy_loss <= 1:
        raise ConfigError(
            f"export.max_accuracy_loss={settings.max_accuracy_loss}: must be from 0 to 1; 0.01 is one percent."
        )
    if settings.samples < 1:
        raise ConfigError(f"export.samples={settings.samples}: must be at least 1.")
    if settings.register is not None:
        _check_registration(settings.register, settings.alias)
        if not settings.enabled:
            raise ConfigError(
                f"export.register={settings.register}: there is nothing to register without an export. "
                "Leave out export=none."
            )


def _check_registration(name: str, alias: str | None) -> None:
    """Refuse what MLflow's registry would refuse, which would be after the training."""
    if not re.fullmatch(r"[^\W_]([\w .+()-]*[\w+()-])?", name) or len(name) > _MAX_NAME:
        raise ConfigError(
            f"export.register={masked(name)!r}: the name of a registered model has letters, digits, spaces and "
            f"_ . + - ( ), and begins with a letter or a digit; at most {_MAX_NAME} characters."
        )
    _refuse_secret("export.register", name)
    if alias is None:
        return
    if not re.fullmatch(r"[\w-]+", alias) or re.fullmatch(r"(?i)latest|v\d+", alias) or len(alias) > _MAX_NAME:
        raise ConfigError(
            f"export.alias={masked(alias)!r}: an alias is one word of letters, digits, _ and -, and none of MLflow's "
            "own: latest, v1, v2, ... Or null, for none."
        )


def _check_reals(settings: Settings) -> None:
    if not 0 < settings.trainer.rollback_factor < 1:
        raise ConfigError(f"trainer.rollback_factor={settings.trainer.rollback_factor}: must be between 0 and 1.")
    if not settings.trainer.devices_timeout > 0:
        raise ConfigError(
            f"trainer.devices_timeout={settings.trainer.devices_timeout}: must be greater than 0 seconds."
        )
    durations = {"checkpoint.every_seconds": settings.checkpoint.every_seconds, "sweep.timeout": settings.sweep.timeout}
    for key, seconds in durations.items():
        if seconds is not None and not seconds > 0:
            raise ConfigError(f"{key}={seconds}: must be greater than 0, or null.")
    for key, seconds in {
        "checkpoint.sync_every": settings.checkpoint.sync_every,
        "sweep.grace": settings.sweep.grace,
    }.items():
        if not seconds >= 0:
            raise ConfigError(f"{key}={seconds}: must be at least 0 seconds.")


def _check_names(settings: Settings) -> None:
    check_name(settings.name)
    check_runs_dir(settings.runs_dir)
    _refuse_secret("tracking.experiment", settings.tracking.experiment or "")


def check_runs_dir(folder: str) -> str:
    """Return the folder of the runs if its path holds no secret.

    Raises:
        ConfigError: it holds one.
    """
    _refuse_secret("runs_dir", folder, words=False)  # a user's home may be called as a password is
    return folder


def check_name(name: str) -> str:
    """Return the name of an experiment if it can be the name of a folder.

    Raises:
        ConfigError: it cannot, or holds a secret.
    """
    if not name or any(c in name for c in '/\\:*?"<>|\n') or name.startswith("."):
        raise ConfigError(f"name={name!r}: it names a folder, so it must be a plain file name.")
    _refuse_secret("name", name)
    return name


def _refuse_secret(key: str, text: str, *, words: bool = True) -> None:
    """Refuse what could be no folder's name without showing a secret, nor be written without it."""
    secret = secret_in(text, words=words)
    if secret:
        raise ConfigError(
            f"{key}={masked(text)}: it holds {secret}. It becomes the name of folders and pages that everybody sees. "
            f"Leave the secret out: {key}=NAME."
        )
