"""CIFAR-10 and CIFAR-100: 60,000 small colour images (Krizhevsky 2009)."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, Data, DataError
from expkit_datasets._checks import check_limit
from expkit_datasets._official import Official, labelled
from expkit_datasets._plain_pickle import read_pickle
from expkit_datasets.sources import RemoteFile, names_in

_MIRRORS = ("https://dataset.bj.bcebos.com/cifar/", "https://www.cs.toronto.edu/~kriz/")
_SIDE = 32


@dataclass(frozen=True)
class _Form:
    """How one of the two is laid out in its archive.

    Attributes:
        official: its file.
        folder: inside the archive.
        train: files of the training samples.
        test: file of the test samples.
        meta: file of the names of classes.
        classes: key of the classes in a file of samples.
        names: key of the names in `meta`.
    """

    official: Official
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    classes: str
    names: str


TEN = _Form(
    Official(
        "cifar10", (RemoteFile("cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a"),), _MIRRORS
    ),
    "cifar-10-batches-py",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
    "batches.meta",
    "labels",
    "label_names",
)
HUNDRED = _Form(
    Official(
        "cifar100", (RemoteFile("cifar-100-python.tar.gz", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),), _MIRRORS
    ),
    "cifar-100-python",
    ("train",),
    "test",
    "meta",
    "fine_labels",
    "fine_label_names",
)


def cifar10(
    *,
    root: str | None = None,
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    valid: int = 5_000,
    limit: int | None = None,
) -> Data:
    """CIFAR-10: 32x32 colour images of ten kinds of things, 50,000 for training and 10,000 for test.

    The file is `cifar-10-python.tar.gz`, or what was unpacked of it. Its places, in this order: `root`,
    `$EXPKIT_DATA_DIR/cifar10`, the user's cache, a download into the cache. No code in it is run.

    Args:
        root: folder that holds the archive, or what was unpacked of it; null searches $EXPKIT_DATA_DIR, the cache and
            the net.
        download: whether the file may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means Paddle's, and that of its authors.
        check: accept only the official archive; what is unpacked is taken as it is.
        valid: number of samples, taken from the end of the training samples, that are kept for validation.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: files are missing, damaged or foreign.
    """
    return _load(TEN, root, download, mirrors, check, valid, limit)


def cifar100(
    *,
    root: str | None = None,
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    valid: int = 5_000,
    limit: int | None = None,
) -> Data:
    """CIFAR-100: 32x32 colour images of a hundred kinds of things, 50,000 for training and 10,000 for test.

    The file is `cifar-100-python.tar.gz`, or what was unpacked of it. Its places, in this order: `root`,
    `$EXPKIT_DATA_DIR/cifar100`, the user's cache, a download into the cache. No code in it is run.

    Args:
        root: folder that holds the archive, or what was unpacked of it; null searches $EXPKIT_DATA_DIR, the cache and
            the net.
        download: whether the file may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means Paddle's, and that of its authors.
        check: accept only the official archive; what is unpacked is taken as it is.
        valid: number of samples, taken from the end of the training samples, that are kept for validation.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: files are missing, damaged or foreign.
    """
    return _load(HUNDRED, root, download, mirrors, check, valid, limit)


def _load(
    form: _Form,
    root: str | None,
    download: bool,
    mirrors: Sequence[str] | None,
    check: bool,
    valid: int,
    limit: int | None,
) -> Data:
    name, file = form.official.name, form.official.files[0]
    check_limit(name, limit)
    place = form.official.place(root, may_download=download, mirrors=mirrors)
    names = names_in(place.folder, dataset=name)
    archive = place.folder / file.name
    official = False
    if file.name in names:
        official = form.official.check(archive, file.md5, strict=check)
        files = _unpacked(form, archive)
    else:
        folder = place.folder / form.folder if form.folder in names else place.folder
        there = names_in(folder, dataset=name)
        missing = [wanted for wanted in (*form.train, form.test, form.meta) if wanted not in there]
        if missing:
            raise DataError(
                f"dataset '{name}': {place.folder} holds no {file.name}, and no {', no '.join(missing)} unpacked of "
                f"it; it holds {', '.join(sorted(names)[:5]) or 'nothing'}. Set dataset.root to the folder that does."
            )
        files = {part: (folder / part).read_bytes() for part in (*form.train, form.test, form.meta)}
    read = _reader(form, files)
    batches = [_samples(form, part, read(part)) for part in (*form.train, form.test)]
    labels = [str(label) for label in read(form.meta)[form.names]]
    train = (np.concatenate([b[0] for b in batches[:-1]]), np.concatenate([b[1] for b in batches[:-1]]))
    title = name if official else f"{name} (unchecked files)"
    return labelled(title, place.source, labels, train=train, test=batches[-1], valid=valid, limit=limit)


def _unpacked(form: _Form, archive: Path) -> dict[str, bytes]:
    """Read the files of an archive into memory, by their names alone; nothing is written anywhere."""
    name, found = form.official.name, {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                if member.isfile() and folder.endswith(form.folder):
                    stream = tar.extractfile(member)
                    found[file] = b"" if stream is None else stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"dataset '{name}': {archive} is damaged ({error}). Delete it and run again.") from error
    missing = [part for part in (*form.train, form.test, form.meta) if part not in found]
    if missing:
        raise DataError(f"dataset '{name}': {archive} holds no {', no '.join(missing)}.")
    return found


def _reader(form: _Form, files: dict[str, bytes]) -> Callable[[str], dict[str, Any]]:
    def read(part: str) -> dict[str, Any]:
        try:
            return read_pickle(files[part])
        except ValueError as error:
            raise DataError(f"dataset '{form.official.name}': {part} {error}.") from error

    return read


def _samples(form: _Form, part: str, batch: dict[str, Any]) -> tuple[Array, Array]:
    rows, classes = np.asarray(batch.get("data")), np.asarray(batch.get(form.classes), dtype=object)
    if (
        rows.dtype != np.uint8
        or rows.ndim != 2
        or rows.shape[1] != 3 * _SIDE**2
        or len(classes.reshape(-1)) != len(rows)
    ):
        raise DataError(
            f"dataset '{form.official.name}': {part} holds no images of {_SIDE} x {_SIDE} pixels in three colours, "
            f"with as many {form.classes}."
        )
    images = rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), classes.reshape(-1).astype(np.int64)
