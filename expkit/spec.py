"""What a dataset tells the rest of an experiment about itself.

Shapes: N samples, C channels, H rows, W columns, F features, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from expkit.preprocess import Classes, Values

Array = npt.NDArray[Any]


class InputSpec(Protocol):
    """How a raw sample becomes a model input; `ImageInput` and `TableInput` are the two that expkit brings."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one model input, without the batch axis."""

    @property
    def dtype(self) -> str:
        """Dtype of a model input."""

    def normalise(self, raw: Array) -> Array:
        """Turn a raw batch [N, ...] into model inputs [N, *shape]; called once a batch, in training and outside."""

    def read(self, path: str) -> Array:
        """Read a file (a PNG, a CSV) as a raw batch [N, ...]."""

    def describe(self) -> dict[str, Any]:
        """Plain values that travel with an exported model."""


@dataclass(frozen=True)
class DataSource:
    """Where the data of a run really came from.

    Attributes:
        kind: "root", "env", "cache", "download", "stand-in", "generated" or a plugin's own word.
        location: folder, URL or package that holds it.
        stand_in_for: name of the dataset that was asked for, when this one only takes its place.
        note: why this source was taken, for people.
    """

    kind: str
    location: str
    stand_in_for: str | None = None
    note: str = ""


@dataclass(frozen=True)
class DataSpec:
    """Everything that a model, a loss or an export needs to know about the data.

    Attributes:
        name: the data's true name, such as "mnist", or "digits (stand-in for mnist)".
        input: how raw samples become model inputs.
        target: `Classes` or `Values`.
        source: where the data came from.
        fingerprint: SHA-256 (hex) over all splits; equal fingerprints mean equal data.
    """

    name: str
    input: InputSpec
    target: Classes | Values
    source: DataSource
    fingerprint: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one model input, without the batch axis: (1, 28, 28) for MNIST."""
        return self.input.shape

    @property
    def input_dtype(self) -> str:
        """Dtype of model inputs."""
        return self.input.dtype

    @property
    def outputs(self) -> int:
        """Number of model outputs K: classes, or values to predict."""
        return self.target.outputs

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty for values."""
        return self.target.labels if isinstance(self.target, Classes) else ()

    @property
    def is_classification(self) -> bool:
        """Whether the target is one of K classes."""
        return isinstance(self.target, Classes)


class Split(Protocol):
    """One part of a dataset, any sample of which can be had at any time. `ArraySplit` serves a set that fits in memory.

    One whose `gather` costs little may have an attribute `in_memory: bool`, which is true then: its batches are made as
    they are needed, where those of others are made ahead (`dataset.loading=auto`). `gather` is called from one thread
    at a time, though not always the same; with `dataset.loading=workers` in forked processes, which share open files.
    A stream without indices (as `paddle.io.IterableDataset`) has no order to repeat: give it a length and an index.
    """

    def __len__(self) -> int:
        """Number of samples."""

    def gather(self, indices: Array) -> tuple[Array, Array]:
        """Return raw inputs [N, ...] and targets ([N] int64 classes or [N, K] values) of these samples."""


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: a batch is one gather.

    Attributes:
        inputs: raw inputs [N, ...]; uint8 for images.
        targets: [N] int64 classes, or [N, K] normalised values: float32, or float64 where the dataset says so
            (`Values.precision`).

    Raises:
        ValueError: the two differ in length.
    """

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} inputs but {len(self.targets)} targets")

    @property
    def in_memory(self) -> bool:
        """Whether a batch costs a copy only: the inputs are not mapped from a file."""
        return not isinstance(self.inputs, np.memmap)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    def gather(self, indices: Array) -> tuple[Array, Array]:
        """Return copies of the chosen samples."""
        return np.take(self.inputs, indices, axis=0), np.take(self.targets, indices, axis=0)


@dataclass(frozen=True)
class Data:
    """What a dataset plugin returns. `test` is only ever measured on, once, with the best weights."""

    spec: DataSpec
    train: Split
    valid: Split
    test: Split


@dataclass(frozen=True)
class Batch:
    """Raw samples on their way to the model.

    Attributes:
        inputs: raw inputs [N, ...], before normalisation.
        targets: [N] int64 classes, or [N, K] values: float32, or float64 where the dataset says so.
    """

    inputs: Array
    targets: Array


class BatchSource(Protocol):
    """The batches of a split, for those who watch training; a batch is a pure function of epoch and position."""

    split: Split

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, epoch: int = 1, skip: int = 0) -> Iterator[tuple[Array, Array]]:
        """Yield (inputs [N, *shape], targets) of an epoch (counts from 1), without the first `skip` batches."""

    def raw(self, epoch: int, number: int, *, augment: bool = True) -> Batch:
        """Return one batch (`number` counts from 0) before normalisation, with or without its transforms."""
