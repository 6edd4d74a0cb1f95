"""Datasets that know nothing of expkit: read as their owners wrote them."""

import os

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

import paddle
from paddle.io import Dataset, IterableDataset, TensorDataset
from PIL import Image

from expkit.api import Classes, ConfigError, DataError, ImageInput, TableInput, Values
from expkit.testing import check_dataset
from expkit_datasets.paddle_dataset import paddle_dataset

_random = np.random.default_rng(0)
IMAGES = _random.integers(0, 256, (60, 8, 6), dtype=np.uint8)
COLOURS = _random.integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)
CLASSES = np.arange(60) % 3
ROWS = _random.standard_normal((60, 5)).astype("float32")


class Items(Dataset):
    """The usual kind: has a length and an index."""

    def __init__(self, make):
        self.make, self.reads = make, 0

    def __len__(self):
        return 60

    def __getitem__(self, number):
        self.reads += 1
        return self.make(number)


class Stream(IterableDataset):
    """Can only be gone through."""

    def __init__(self, count=60):
        self.count = count

    def __iter__(self):
        for number in range(self.count):
            yield paddle.to_tensor(IMAGES[number % 60]), int(CLASSES[number % 60])


def reader():
    """The way of old: a function that returns a generator."""
    for number in range(60):
        yield ROWS[number], float(number)


FORMS = {
    "items with labels [1]": lambda: Items(lambda i: (IMAGES[i], CLASSES[i : i + 1])),
    "pictures in a dict": lambda: Items(lambda i: {"image": Image.fromarray(COLOURS[i]), "label": int(CLASSES[i])}),
    "stream": Stream,
    "generator": lambda: reader,
    "batched generator": lambda: paddle.batch(reader, 7),
    "tensors": lambda: TensorDataset([paddle.to_tensor(ROWS), paddle.to_tensor(CLASSES)]),
    "list with texts": lambda: [(image, "abc"[c]) for image, c in zip(IMAGES, CLASSES, strict=True)],
    "pair of arrays": lambda: (ROWS, CLASSES),
    "values of two": lambda: Items(lambda i: (IMAGES[i], [i / 60, 1 - i / 60])),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_a_dataset(form):
    fields = ("image", "label") if "dict" in form else (0, 1)
    data = paddle_dataset(of=FORMS[form](), fields=fields)
    check_dataset(data)
    assert [len(data.train), len(data.valid), len(data.test)] == [48, 6, 6]
    assert isinstance(data.spec.input, TableInput if data.train.inputs.ndim == 2 else ImageInput)
    expected = Values if form in ("generator", "batched generator", "values of two") else Classes
    assert isinstance(data.spec.target, expected)


def test_texts_become_classes_and_named_ones_keep_their_order():
    assert paddle_dataset(of=FORMS["list with texts"]()).spec.labels == ("a", "b", "c")
    named = paddle_dataset(of=FORMS["list with texts"](), labels=["c", "b", "a", "d"])
    assert named.spec.labels == ("c", "b", "a", "d")


def test_the_parts_given_are_taken_as_they_are():
    data = paddle_dataset(of=(IMAGES, CLASSES), valid_of=(IMAGES[:9], CLASSES[:9]), test_of=(IMAGES[:4], CLASSES[:4]))
    assert [len(data.train), len(data.valid), len(data.test)] == [60, 9, 4]
    assert np.array_equal(data.train.inputs, IMAGES)
    assert np.array_equal(data.valid.targets, CLASSES[:9])


def test_a_split_is_the_same_each_time_and_has_its_share_of_each_class():
    first, again = (paddle_dataset(of=(IMAGES, CLASSES)) for _ in range(2))
    assert first.spec.fingerprint == again.spec.fingerprint
    assert np.array_equal(first.valid.inputs, again.valid.inputs)
    assert np.bincount(first.valid.targets).tolist() == [2, 2, 2]
    other = paddle_dataset(of=(IMAGES, CLASSES), split_seed=1)
    assert other.spec.fingerprint != first.spec.fingerprint


def normalised(number):
    return ((IMAGES[number][None] / 255 - 0.13) / 0.3).astype("float32"), CLASSES[number]


def test_normalised_images_get_their_pixels_back_and_reach_the_model_as_they_were():
    data = paddle_dataset(of=Items(normalised), mean=[0.13], std=[0.3])
    assert data.train.inputs.dtype == np.uint8
    fed = data.spec.input.normalise(data.train.inputs)
    assert {f.tobytes() for f in data.train.inputs} <= {f.tobytes() for f in IMAGES}
    assert np.allclose(fed, (data.train.inputs[:, None] / 255 - 0.13) / 0.3, atol=1e-5)


def test_floats_that_are_no_pixels_reach_the_model_as_they_were():
    waves = _random.standard_normal((60, 1, 8, 6)).astype("float32")
    data = paddle_dataset(of=(waves, CLASSES), mean=[0], std=[1], valid_of=(waves, CLASSES), test_of=(waves, CLASSES))
    assert np.allclose(data.spec.input.normalise(data.train.inputs), waves, atol=1e-5)


def test_what_does_not_fit_is_read_when_it_is_needed():
    items = Items(lambda i: (IMAGES[i], CLASSES[i]))
    data = paddle_dataset(of=items, in_memory=False)
    check_dataset(data, skip={"pickles": "this test has it made by a lambda, which forked workers share"})
    kept = paddle_dataset(of=items)
    assert data.train.in_memory is False
    before = items.reads
    raw, targets = data.train.gather(np.array([5, 2]))
    assert items.reads == before + 2
    assert np.array_equal(raw, kept.train.inputs[[5, 2]])
    assert np.array_equal(targets, kept.train.targets[[5, 2]])


def test_a_dataset_that_augments_is_not_frozen_and_says_that_it_cannot_be_replayed(caplog):
    data = paddle_dataset(of=Items(lambda i: (_random.integers(0, 256, (8, 6), dtype=np.uint8), CLASSES[i])))
    assert "cannot be repeated exactly" in caplog.text
    first, second = (data.train.gather(np.arange(4))[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_a_stream_without_end_is_taken_up_to_the_limit():
    data = paddle_dataset(of=Stream(10**9), limit=50)
    assert len(data.train) + len(data.valid) + len(data.test) == 50


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, r"dataset\.of is missing.*_target_="),
        ({"of": 3}, ConfigError, "dataset.of is a int; expected a paddle.io.Dataset"),
        ({"of": []}, DataError, "train has no samples"),
        ({"of": Stream(10**9), "memory_limit": 1}, DataError, "Set dataset.limit"),
        ({"of": Items(lambda i: (IMAGES[i],))}, DataError, "is a tuple of 1; expected input and target at 0 and 1"),
        ({"of": Items(lambda i: {"x": 1})}, DataError, r"a dict of 'x'; .*Set dataset\.fields"),
        ({"of": Items(lambda i: 1 // 0)}, DataError, "sample 0 of train raises ZeroDivisionError"),
        ({"of": Items(lambda i: (IMAGES[i][: 8 - i % 2], 0))}, DataError, "sample 1 of .* has the shape"),
        ({"of": (np.zeros((60, 4, 5, 2)), CLASSES)}, ConfigError, "do not tell their layout"),
        ({"of": (ROWS[:, :, None] - 9, CLASSES)}, ConfigError, r"dataset\.mean=\[0\.1307\] dataset\.std="),
        ({"of": Items(normalised), "valid_of": (IMAGES, CLASSES)}, ConfigError, "train float32, valid uint8"),
        ({"of": (IMAGES, CLASSES), "mean": [0.5]}, ConfigError, "give both"),
        ({"of": (IMAGES, CLASSES), "valid_of": (IMAGES, CLASSES + 1)}, DataError, "has the class 3, which training"),
        ({"of": (IMAGES, CLASSES), "labels": ["a"]}, ConfigError, "has 1 names, but there are 3 classes"),
        ({"of": (IMAGES, CLASSES - 1)}, ConfigError, r"targets from -1 to 1 .*dataset\.target=values"),
        ({"of": (IMAGES, CLASSES), "target": "class"}, ConfigError, "target is 'class'"),
        ({"of": (IMAGES, CLASSES), "valid": 60}, ConfigError, "leave nothing"),
    ],
)
def test_what_cannot_be_is_told(options, error, message):
    with pytest.raises(error, match=message):
        paddle_dataset(**options)
