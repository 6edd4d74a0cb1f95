"""Measures the weights of an earlier run again, and says whether they still do what the run recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expkit.callbacks import read_epochs
from expkit.data import Batches
from expkit.past import PastRun, check_secrets, read_past
from expkit.preparation import prepare
from expkit.trainer import measure

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Evaluation:
    """What a run's weights do on one split.

    Attributes:
        split: "train", "valid" or "test".
        epoch: of the weights.
        samples: number of samples.
        metrics: measured now: {"loss": ..., "accuracy": ...}.
        recorded: the same, as the run recorded them; empty where it did not.
    """

    split: str
    epoch: int
    samples: int
    metrics: dict[str, float]
    recorded: dict[str, float] = field(default_factory=dict)

    @property
    def largest_difference(self) -> float | None:
        """Largest absolute difference to the record; None where there is nothing to compare with."""
        differences = [abs(self.metrics[name] - value) for name, value in self.recorded.items() if name in self.metrics]
        return max(differences, default=None)


def evaluate(folder: Path, splits: Sequence[str], which: str = "best") -> list[Evaluation]:
    """Measure a checkpoint of a run on some of its data, without augmentation.

    Args:
        folder: the run folder.
        splits: some of "train", "valid", "test".
        which: "best" or "last" checkpoint.

    Raises:
        RunNotFoundError: the folder is no run.
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the data is not that of the run, or needs a password, which is not recorded.
    """
    past = read_past(folder)
    check_secrets(past)
    snapshot = past.checkpoints.load(which)
    prepared = prepare(past.config, training=False)
    past.check_data(prepared.data.spec)
    prepared.learner.load_state_dict(snapshot.learner)
    epoch, found = int(snapshot.progress["epoch"]), []
    for split in splits:
        samples = getattr(prepared.data, split)
        batches = Batches(samples, prepared.data.spec, batch_size=past.config.trainer.eval_batch_size)
        metrics = measure(prepared.learner, batches, prepared.meters["eval"])
        found.append(Evaluation(split, epoch, len(samples), metrics, _recorded(past, which, epoch, split)))
    return found


def _recorded(past: PastRun, which: str, epoch: int, split: str) -> dict[str, float]:
    """Return what the run measured with these weights; of train it measured another mixture, while it learned."""
    known = past.record.get("metrics", {}) if which == "best" and past.record.get("best_epoch") == epoch else {}
    if split == "valid" and not known:
        known = next((values for values in read_epochs(past.folder) if values["epoch"] == epoch), {})
    start = f"{split}/"
    return {} if split == "train" else {n.removeprefix(start): v for n, v in known.items() if n.startswith(start)}
