"""Batches: which samples, in which order, as the model takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial

import numpy as np

from expkit.api import Array, ArraySplit, Batch, DataSpec, Split, Transform
from expkit.errors import ConfigError, DataError
from expkit.loading import SYNC, Loading, load
from expkit.seeding import generator

_TOGETHER = 256
"""Samples up to which small batches are gathered at once."""


class Batches:
    """Cuts a split into batches: one gather, the transforms, one normalisation, for a whole batch at a time.

    Order and augmentation are pure functions of (seed, epoch, position), so any step can be replayed and an epoch can
    be entered in its middle.

    Args:
        split: the samples.
        spec: how raw inputs become model inputs.
        batch_size: samples in a batch.
        shuffle: a new order for each pass over the split; else the split's own.
        drop_last: leave out a smaller last batch of a pass.
        repeat: passes over the split that make one epoch; no batch holds samples of two.
        limit: at most so many batches.
        seed: of order and augmentation.
        transforms: applied to raw batches, in this order.
        loading: where batches are made.

    Raises:
        ConfigError: the batch size or the number of passes is below 1, or the batch is larger than a split whose last
            batch is dropped.
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
        repeat: int = 1,
        limit: int | None = None,
        seed: int = 0,
        transforms: Sequence[Transform] = (),
        loading: Loading = SYNC,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("repeat", repeat)):
            if value < 1:
                raise ConfigError(f"dataset.{name}={value}: must be at least 1.")
        if len(split) == 0:
            raise DataError(f"dataset {spec.name!r}: a split has no samples.")
        self.split, self.spec, self.loading = split, spec, loading
        self.batch_size, self.shuffle, self.repeat, self.seed = batch_size, shuffle, repeat, seed
        self.transforms = tuple(transforms)
        whole, rest = divmod(len(split), batch_size)
        self._per_pass = whole if drop_last or not rest else whole + 1
        if self._per_pass == 0:
            raise ConfigError(
                f"dataset.batch_size={batch_size} with dataset.drop_last=true leaves no batch of {len(split)} samples."
            )
        count = self._per_pass * repeat
        self._count = count if limit is None else min(count, limit)
        self._last: tuple[tuple[int, int], Array] = ((0, 0), np.arange(0))
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._count

    @property
    def samples(self) -> int:
        """Number of samples in an epoch; one that comes in several passes counts as often."""
        passes, rest = divmod(self._count, self._per_pass)
        return passes * self._in_pass(self._per_pass) + self._in_pass(rest)

    def order(self, epoch: int, turn: int = 0) -> Array:
        """Return the indices of all samples in the order of one pass.

        Args:
            epoch: counts from 1.
            turn: which pass of this epoch, counts from 0.
        """
        if not self.shuffle:
            return np.arange(len(self.split))
        # The first pass keeps the stream of an epoch with no other; the 0 keeps later ones off those of augmentation.
        return generator(self.seed, epoch, *((0, turn) if turn else ())).permutation(len(self.split))

    def epoch(
        self, epoch: int = 1, skip: int = 0, rows: Callable[[int], slice] | None = None
    ) -> Generator[tuple[Array, Array], None, None]:
        """Yield (inputs [N, *shape], targets) of an epoch.

        Args:
            epoch: counts from 1.
            skip: batches to leave out at the start, for going on in the middle.
            rows: as for `batch`.
        """
        if rows is None and not self.transforms and self.loading.mode == "sync" and type(self.split) is ArraySplit:
            return self._several_at_once(epoch, skip)
        return load(partial(self.batch, epoch, rows=rows), range(skip, self._count), self.loading)

    def raw(self, epoch: int, number: int, *, augment: bool = True) -> Batch:
        """Return one batch before normalisation.

        Args:
            epoch: counts from 1.
            number: of the batch in the epoch, counts from 0.
            augment: apply the transforms, as in training.

        Raises:
            IndexError: an epoch has no such batch.
        """
        with self._lock:  # a plugin's code need not bear two threads
            batch = self._gather(epoch, number)
            if augment and self.transforms:
                # `+ 1`: SeedSequence pads with zeros, so that number 0 would repeat the stream of `order`.
                random = generator(self.seed, epoch, number + 1)
                for transform in self.transforms:
                    batch = transform(batch, random)
        return batch

    def batch(self, epoch: int, number: int, rows: Callable[[int], slice] | None = None) -> tuple[Array, Array]:
        """Return one batch as the model takes it, (inputs [N, *shape], targets).

        Args:
            epoch: counts from 1.
            number: of the batch in the epoch, counts from 0.
            rows: says for a number of samples which of them are wanted. Others are not even read, where no transform
                needs the whole batch.

        Raises:
            IndexError: an epoch has no such batch.
        """
        if rows is not None and not self.transforms:
            with self._lock:
                batch = self._gather(epoch, number, rows)
        else:
            batch = self.raw(epoch, number)
            if rows is not None:
                wanted = rows(len(batch.targets))
                batch = Batch(batch.inputs[wanted], batch.targets[wanted])
        return self.spec.input.normalise(batch.inputs), batch.targets

    def size_of(self, number: int) -> int:
        """Return the number of samples in one batch of any epoch."""
        place = number % self._per_pass
        return min(self.batch_size, len(self.split) - place * self.batch_size)

    def _several_at_once(self, epoch: int, skip: int) -> Generator[tuple[Array, Array], None, None]:
        """Gather and normalise as many batches together as hold few samples: calls of NumPy outweigh small batches."""
        number = skip
        while number < self._count:
            left = min(self._per_pass - number % self._per_pass, self._count - number)
            together = min(left, max(1, _TOGETHER // self.batch_size))
            chosen = np.concatenate([self._chosen(epoch, number + more) for more in range(together)])
            raw = self.split.gather(chosen)
            inputs, targets = self.spec.input.normalise(raw[0]), raw[1]
            for start in range(0, len(chosen), self.batch_size):
                yield inputs[start : start + self.batch_size], targets[start : start + self.batch_size]
            number += together

    def _gather(self, epoch: int, number: int, rows: Callable[[int], slice] | None = None) -> Batch:
        if not 0 <= number < self._count:
            raise IndexError(f"there is no batch {number}: an epoch has {self._count}, counted from 0")
        chosen = self._chosen(epoch, number)
        return Batch(*self.split.gather(chosen if rows is None else chosen[rows(len(chosen))]))

    def _chosen(self, epoch: int, number: int) -> Array:
        turn, place = divmod(number, self._per_pass)
        if self._last[0] != (epoch, turn):
            self._last = (epoch, turn), self.order(epoch, turn)
        return self._last[1][place * self.batch_size : (place + 1) * self.batch_size]

    def _in_pass(self, batches: int) -> int:
        return min(batches * self.batch_size, len(self.split))
