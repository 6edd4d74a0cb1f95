"""The dataset `digits`, which is also the stand-in for MNIST."""

from __future__ import annotations

import numpy as np
import pytest

from expkit.api import ConfigError
from expkit.testing import check_dataset
from expkit_datasets.digits import digits, eight_by_eight, like_mnist


def test_digits_are_shaped_as_mnist() -> None:
    data = digits()
    images, labels = data.train.gather(np.arange(len(data.train)))
    assert (images.shape, images.dtype, labels.dtype) == ((1297, 28, 28), np.uint8, np.int64)
    assert (data.spec.name, data.spec.source.kind, data.spec.source.stand_in_for) == (
        "digits",
        "package",
        None,
    )
    assert data.spec.labels == tuple("0123456789")
    border = np.concatenate([images[:, :4].ravel(), images[:, -4:].ravel(), images[:, :, :4].ravel()])
    assert border.max() == 0
    assert images.max() == 255


def test_digits_are_split_the_same_way_each_time_and_share_no_sample() -> None:
    first, again = digits(), digits()
    assert first.spec.fingerprint == again.spec.fingerprint
    assert [len(first.train), len(first.valid), len(first.test)] == [1297, 200, 300]
    rows = [
        image.tobytes()
        for split in (first.train, first.valid, first.test)
        for image in split.gather(np.arange(len(split)))[0]
    ]
    assert len(set(rows)) == 1797


def test_every_class_is_in_every_split() -> None:
    data = digits()
    for split in (data.train, data.valid, data.test):
        counts = np.bincount(split.gather(np.arange(len(split)))[1], minlength=10)
        assert counts.min() >= 10


def test_digits_are_exactly_those_of_load_digits() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = eight_by_eight()
    np.testing.assert_array_equal(images, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)


def test_digits_are_still_found_when_the_file_of_scikit_learn_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digits().spec.fingerprint
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert digits().spec.fingerprint == before


def test_scaling_keeps_the_picture() -> None:
    small = np.zeros((1, 8, 8))
    small[0, :, :4] = 16.0  # left half bright
    [large] = like_mnist(small)
    assert (large[4:24, 4:12] > 200).all()
    assert (large[4:24, 16:24] < 50).all()


def test_digits_may_be_numbers_to_predict() -> None:
    data = digits(target="number", limit=50)
    check_dataset(data)
    labels = digits(limit=50).train.gather(np.arange(3))[1]
    assert data.train.gather(np.arange(3))[1].tolist() == labels[:, None].tolist()
    with pytest.raises(ConfigError, match="dataset 'digits': target is 'value'; expected 'class' or 'number'"):
        digits(target="value")


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="dataset 'digits': limit is -3"):
        digits(limit=-3)
