"""Handwritten digits that come with scikit-learn: a small data set of its own, and the stand-in for MNIST."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from expkit.api import Array, Data, DataSource
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets.images import TARGETS, Labelled, image_data

LOCATION = "scikit-learn load_digits"
_BOX = 20
_SIZE = 28
_SEED = 1797
_TRAIN, _VALID = 1297, 200


def digits(*, target: str = "class", limit: int | None = None) -> Data:
    """1,797 real handwritten digits (UCI, 8x8) scaled up to 28x28; needs no download.

    Split once and for all into 1,297 for training, 200 for validation and 300 for test.

    Args:
        target: what a digit is for the model: a "class" of ten, or a "number" to predict.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: `limit` is below 1, or `target` is another word.
    """
    check_limit("digits", limit)
    check_choice("digits", "target", target, TARGETS)
    return load("digits", DataSource("package", LOCATION), target, limit)


def load(name: str, source: DataSource, target: str, limit: int | None, few: int | None = None) -> Data:
    """Make `Data` of the digits under any true name, such as "digits (stand-in for mnist)"."""
    train, valid, test = _splits()
    return image_data(name, source, train=train, valid=valid, test=test, target=target, limit=limit, few=few)


def _splits() -> tuple[Labelled, Labelled, Labelled]:
    small, labels = eight_by_eight()
    # RandomState's streams never change, so neither does the split.
    order = np.random.RandomState(_SEED).permutation(len(labels))
    images, labels = like_mnist(small[order]), labels[order]
    end = _TRAIN + _VALID
    return (
        (images[:_TRAIN], labels[:_TRAIN]),
        (images[_TRAIN:end], labels[_TRAIN:end]),
        (images[end:], labels[end:]),
    )


def eight_by_eight() -> Labelled:
    """Return scikit-learn's images [1797, 8, 8] with values 0..16 and their labels.

    They are read from scikit-learn's own file, which takes 0.1 s; importing `sklearn.datasets` takes 1.5 s
    (6 s the first time) and is left to the day when that file has moved.
    """
    found = importlib.util.find_spec("sklearn")
    path = Path(found.origin).parent / "datasets/data/digits.csv.gz" if found and found.origin else Path()
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def like_mnist(small: Array) -> Array:
    """Scale images [N, 8, 8] with values 0..16 to MNIST's form: 20x20 centred on 28x28, uint8 [N, 28, 28]."""
    from PIL import Image

    grey = np.rint(small * (255.0 / 16.0)).astype(np.uint8)
    out = np.zeros((len(grey), _SIZE, _SIZE), dtype=np.uint8)
    edge = (_SIZE - _BOX) // 2
    box = slice(edge, edge + _BOX)
    for target, image in zip(out, grey, strict=True):
        target[box, box] = np.asarray(Image.fromarray(image).resize((_BOX, _BOX), Image.Resampling.BICUBIC))
    return out
