"""Batches: which samples, in which order, as the model takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from expkit.api import Array, Batch, DataSpec, Split, Transform
from expkit.errors import ConfigError, DataError
from expkit.seeding import generator


class Batches:
    """Cuts a split into batches: one gather, the transforms, one normalisation, for a whole batch at a time.

    Order and augmentation are pure functions of (seed, epoch, position), so any step can be replayed and an epoch can
    be entered in its middle.

    Args:
        split: the samples.
        spec: how raw inputs become model inputs.
        batch_size: samples in a batch.
        shuffle: a new order each epoch; else the split's own.
        drop_last: leave out a smaller last batch.
        limit: at most so many batches.
        seed: of order and augmentation.
        transforms: applied to raw batches, in this order.

    Raises:
        ConfigError: the batch size is below 1, or larger than a split whose last batch is dropped.
        DataError: the split is empty.
    """

    def __init__(
        self,
        split: Split,
        spec: DataSpec,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        limit: int | None = None,
        seed: int = 0,
        transforms: Sequence[Transform] = (),
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"dataset.batch_size={batch_size}: must be at least 1.")
        if len(split) == 0:
            raise DataError(f"dataset {spec.name!r}: a split has no samples.")
        self.split, self.spec = split, spec
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.transforms = tuple(transforms)
        whole, rest = divmod(len(split), batch_size)
        self._count = whole if drop_last or not rest else whole + 1
        if self._count == 0:
            raise ConfigError(
                f"dataset.batch_size={batch_size} with dataset.drop_last=true leaves no batch of {len(split)} samples."
            )
        if limit is not None:
            self._count = min(self._count, limit)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._count

    @property
    def samples(self) -> int:
        """Number of samples in an epoch."""
        return min(self._count * self.batch_size, len(self.split))

    def order(self, epoch: int) -> Array:
        """Return the indices of all samples in the order of this epoch (counts from 1)."""
        if not self.shuffle:
            return np.arange(len(self.split))
        return generator(self.seed, epoch).permutation(len(self.split))

    def epoch(self, epoch: int = 1, skip: int = 0) -> Iterator[tuple[Array, Array]]:
        """Yield (inputs [N, *shape], targets) of an epoch.

        Args:
            epoch: counts from 1.
            skip: batches to leave out at the start, for going on in the middle.
        """
        order = self.order(epoch)
        for number in range(skip, self._count):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            inputs, targets = self.split.gather(chosen)
            if self.transforms:
                # `+ 1`: SeedSequence pads with zeros, so that number 0 would repeat the stream of `order`.
                batch, random = Batch(inputs, targets), generator(self.seed, epoch, number + 1)
                for transform in self.transforms:
                    batch = transform(batch, random)
                inputs, targets = batch.inputs, batch.targets
            yield self.spec.input.normalise(inputs), targets
