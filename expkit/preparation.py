"""Builds everything that an experiment needs, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from expkit import cpu_tuning, device, seeding
from expkit.api import Array, Callback, Classes, Data, Learner, Split, Team, Transform
from expkit.config import ExperimentConfig, LoaderSettings
from expkit.data import Batches
from expkit.data_checks import check_data
from expkit.errors import ConfigError, PluginError
from expkit.export.formats import require
from expkit.isolation import guarded
from expkit.loading import Loading, choose
from expkit.metrics import Meter
from expkit.parts import ConfiguredParts, check_rollback
from expkit.preprocess import SCORES
from expkit.trainer import Monitor


@dataclass(frozen=True)
class Prepared:
    """A whole experiment, ready to train.

    Attributes:
        data: the dataset.
        batches: "train", "valid", "test".
        learner: what is trained.
        meters: "step", "train", "eval".
        monitor: what says which epoch is best.
        callbacks: the chosen ones by name, in order.
        device: as Paddle calls it.
        tuning: CPU settings that were applied, as tags.
        feed: yields from an epoch and a number of batches to leave out what this process computes of each batch, where
            other devices compute the rest; None where it computes all.
    """

    data: Data
    batches: Mapping[str, Batches]
    learner: Learner
    meters: Mapping[str, Meter]
    monitor: Monitor
    callbacks: Mapping[str, Callback]
    device: str
    tuning: Mapping[str, str]
    feed: Callable[[int, int], Iterator[tuple[Array, Array]]] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Samples in each split."""
        return {name: len(batches.split) for name, batches in self.batches.items()}


def prepare(config: ExperimentConfig, *, training: bool = True, team: Team | None = None) -> Prepared:
    """Tune, seed, load the data and build all components.

    Args:
        config: the experiment.
        training: whether it is to be trained; else its weights are only measured.
        team: the devices that train together, where there are several.

    Raises:
        ExpkitError: a component, a value or the data is not what it should be.
    """
    if training and config.export.enabled:
        require(config.export.formats)
    tuning = cpu_tuning.tune(config.device.tune)
    used = device.select(config.device.name, config.device.index, config.device.threads)
    seeding.seed_everything(config.seed)
    data = _with_scores(check_data(config.dataset.build(**asdict(config.loader)), config.dataset.name), config)
    batches = _batches(config, data)
    meters = {
        use: Meter({name: c.build(spec=data.spec) for name, c in config.metrics.items()})
        for use in ("step", "train", "eval")
    }
    callbacks = guarded(config.callbacks, data.spec)
    steps = len(batches["train"])
    parts = ConfiguredParts(config, data.spec, steps_per_epoch=steps, device=used, training=training, team=team)
    # Seeded again, so that the weights do not depend on random numbers that loading the data may have used.
    seeding.seed_everything(config.seed)
    learner: Learner = config.learner.build(parts=parts)
    parts.refuse_idle()
    check_rollback(config, learner)
    monitor = find_monitor(config, {f"valid/{name}": up for name, up in meters["eval"].higher_is_better.items()})
    return Prepared(data, batches, learner, meters, monitor, callbacks, used, tuning)


def steps_per_epoch(config: ExperimentConfig) -> int:
    """Load the data of an experiment and return how many steps an epoch of it has."""
    data = check_data(config.dataset.build(**asdict(config.loader)), config.dataset.name)
    return len(_batches(config, data)["train"])


def _with_scores(data: Data, config: ExperimentConfig) -> Data:
    """Let the spec say what the chosen loss takes the model's outputs for, so that all others read them alike."""
    if config.loss is None or not isinstance(data.spec.target, Classes):
        return data
    scores = getattr(config.loss.build(spec=data.spec), "scores", "logits")
    if scores not in SCORES:
        raise PluginError(f"loss {config.loss.name!r} has scores={scores!r}, which must be one of {', '.join(SCORES)}.")
    return replace(data, spec=replace(data.spec, target=replace(data.spec.target, scores=scores)))


def _batches(config: ExperimentConfig, data: Data) -> dict[str, Batches]:
    size, spec, loader = config.trainer.eval_batch_size, data.spec, config.loader
    transforms = [c.build(spec=spec) for c in config.transforms.values()]
    train = Batches(
        data.train,
        spec,
        batch_size=loader.batch_size,
        shuffle=loader.shuffle,
        drop_last=loader.drop_last,
        repeat=loader.repeat,
        limit=config.trainer.limit_train_batches,
        seed=config.seed,
        transforms=transforms,
        loading=_loading(loader, data.train, transforms),
    )
    # Measuring goes through a split once an epoch: a thread is enough, and of no use where the samples are at hand.
    measured = replace(loader, loading="sync" if loader.loading == "sync" else "auto")
    return {
        "train": train,
        "valid": Batches(data.valid, spec, batch_size=size, loading=_loading(measured, data.valid)),
        "test": Batches(data.test, spec, batch_size=size, loading=_loading(measured, data.test)),
    }


def _loading(loader: LoaderSettings, split: Split, transforms: Sequence[Transform] = ()) -> Loading:
    drawing = [type(one).__name__ for one in transforms if getattr(one, "draws_globally", False)]
    in_memory = getattr(split, "in_memory", False)
    mode = choose(loader.loading, in_memory=in_memory, augmented=bool(transforms), drawing=drawing)
    return Loading(mode, loader.prefetch, loader.workers)


def find_monitor(config: ExperimentConfig, measured: Mapping[str, bool]) -> Monitor:
    """Return what says which epoch is best.

    Args:
        config: the experiment.
        measured: direction of each value that a validation measures, as "valid/accuracy".

    Raises:
        ConfigError: `checkpoint.monitor` is none of them.
    """
    wanted = next(iter(measured)) if config.checkpoint.monitor == "auto" else config.checkpoint.monitor
    if wanted not in measured:
        raise ConfigError(
            f"checkpoint.monitor={wanted!r} is not measured. Measured are {', '.join(measured)}; "
            "add a metric with metrics=[NAME]."
        )
    mode = config.checkpoint.mode
    return Monitor(wanted, measured[wanted] if mode == "auto" else mode == "max")
