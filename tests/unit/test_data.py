from __future__ import annotations

import itertools

import numpy as np
import pytest

from expkit.api import ArraySplit, Batch, ConfigError, DataError
from expkit.data import Batches
from expkit.seeding import generator

SAMPLES = 23


@pytest.fixture
def make(tiny_spec):
    """Batches over images whose every pixel is the sample's number, which is the target too."""
    numbers = np.arange(SAMPLES)
    split = ArraySplit(np.tile(numbers.astype(np.uint8)[:, None, None], (1, 28, 28)), numbers)

    def make(**options):
        return Batches(split, tiny_spec, **{"batch_size": 5, **options})

    return make


def targets(batches, epoch=1, skip=0):
    return [found.tolist() for _, found in batches.epoch(epoch, skip)]


def test_without_shuffling_the_order_is_the_splits_own(make):
    assert targets(make()) == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11, 12, 13, 14],
        [15, 16, 17, 18, 19],
        [20, 21, 22],
    ]


def test_inputs_are_normalised_and_belong_to_their_targets(make, tiny_spec):
    for inputs, found in make(shuffle=True).epoch(3):
        assert inputs.dtype == np.float32
        assert inputs.shape == (len(found), 1, 28, 28)
        raw = np.tile(found.astype(np.uint8)[:, None, None], (1, 28, 28))
        np.testing.assert_array_equal(inputs, tiny_spec.input.normalise(raw))


@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"limit": 4}, {"repeat": 3, "limit": 12}])
@pytest.mark.parametrize(("size", "skip"), [(1, 0), (2, 3), (5, 1), (23, 0), (100, 0)])
def test_an_epoch_yields_the_batches_that_are_asked_for_one_by_one(make, size, skip, options):
    if size == 100 and "drop_last" in options:
        return
    batches = make(batch_size=size, shuffle=True, **options)
    epoch = list(batches.epoch(2, skip))
    assert len(epoch) == max(0, len(batches) - skip)
    for number, (inputs, found) in enumerate(epoch, start=skip):
        wanted_inputs, wanted = batches.batch(2, number)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(inputs, wanted_inputs)


def test_the_order_is_a_pure_function_of_seed_and_epoch(make):
    one, other = make(shuffle=True, seed=7), make(shuffle=True, seed=7)
    np.random.seed(1)  # no global state may matter
    later = targets(one, 2)
    targets(other, 1)
    assert targets(other, 2) == later
    assert sorted(itertools.chain(*later)) == list(range(SAMPLES))
    assert targets(one, 1) != later
    assert targets(make(shuffle=True, seed=8), 2) != later


def test_the_order_is_the_documented_one(make):
    wanted = np.random.Generator(np.random.MT19937(np.random.SeedSequence([7, 2]))).permutation(SAMPLES)
    assert list(itertools.chain(*targets(make(shuffle=True, seed=7), 2))) == wanted.tolist()


class Noisy:
    """Adds a random number to the targets, and remembers them."""

    def __init__(self):
        self.drawn = []

    def __call__(self, batch, random):
        self.drawn.append(int(random.integers(1 << 30)))
        return Batch(batch.inputs, batch.targets + self.drawn[-1])


@pytest.mark.parametrize("skip", range(6))
def test_an_epoch_entered_in_its_middle_goes_on_as_if_it_had_begun_at_its_start(make, skip):
    def batches():
        return make(shuffle=True, seed=3, transforms=[Noisy()])

    whole = list(batches().epoch(4))
    rest = list(batches().epoch(4, skip=skip))
    assert len(rest) == len(whole[skip:])
    for (inputs, found), (wanted_inputs, wanted) in zip(rest, whole[skip:], strict=True):
        assert inputs.tobytes() == wanted_inputs.tobytes()
        assert found.tolist() == wanted.tolist()


def test_augmentation_differs_from_batch_to_batch_and_epoch_to_epoch_but_repeats(make):
    noise = Noisy()
    batches = make(transforms=[noise], seed=5)
    for epoch in (1, 2, 1):
        list(batches.epoch(epoch))
    assert len(set(noise.drawn)) == 10
    assert noise.drawn[10:] == noise.drawn[:5]


def test_augmentation_of_the_first_batch_does_not_use_the_numbers_of_the_order(make):
    noise = Noisy()
    list(make(transforms=[noise], seed=5, limit=1).epoch(1))
    assert noise.drawn[0] != int(generator(5, 1).integers(1 << 30))


def test_transforms_run_in_their_order_on_raw_batches(make):
    seen = []

    def double(batch, random):
        seen.append(batch.inputs.dtype)
        return Batch(batch.inputs, batch.targets * 2)

    def add(batch, random):
        return Batch(batch.inputs, batch.targets + 1)

    assert targets(make(transforms=[double, add]))[0] == [1, 3, 5, 7, 9]
    assert seen[0] == np.uint8


@pytest.mark.parametrize(
    ("options", "count", "samples"),
    [
        ({}, 5, 23),
        ({"drop_last": True}, 4, 20),
        ({"limit": 2}, 2, 10),
        ({"limit": 99}, 5, 23),
        ({"limit": 99, "drop_last": True}, 4, 20),
        ({"batch_size": 23}, 1, 23),
        ({"batch_size": 100}, 1, 23),
        ({"batch_size": 1}, 23, 23),
        ({"batch_size": 23, "drop_last": True}, 1, 23),
    ],
)
def test_length_and_samples_are_those_of_an_epoch(make, options, count, samples):
    batches = make(**options)
    sizes = [len(found) for found in targets(batches)]
    assert len(batches) == len(sizes) == count
    assert batches.samples == sum(sizes) == samples


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_size_below_one_is_refused(make, size):
    with pytest.raises(ConfigError, match=f"dataset.batch_size={size}: must be at least 1"):
        make(batch_size=size)


def test_dropping_the_only_batch_is_refused(make):
    with pytest.raises(ConfigError, match=r"batch_size=24 with dataset\.drop_last=true leaves no batch of 23"):
        make(batch_size=24, drop_last=True)


def test_an_empty_split_is_refused(tiny_spec):
    with pytest.raises(DataError, match="'example grey images': a split has no samples"):
        Batches(ArraySplit(np.zeros((0, 28, 28), np.uint8), np.zeros(0)), tiny_spec, batch_size=5)
