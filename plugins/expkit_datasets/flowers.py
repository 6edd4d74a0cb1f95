"""Oxford 102 Flowers: photographs in many sizes (Nilsback and Zisserman 2008)."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from expkit.api import Array, ArraySplit, Classes, ConfigError, Data, DataError, DataSpec, ImageInput
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets._official import Official
from expkit_datasets.images import fingerprint, pixel_statistics
from expkit_datasets.sources import RemoteFile, names_in

NAME = "flowers"
CLASSES = 102
IMAGES = RemoteFile("102flowers.tgz", 344_862_509, "52808999861908f626f3c1f4e79d11fa")
LABELS = RemoteFile("imagelabels.mat", 502, "e0620be6f572b9609742df49c70aed4d")
PARTS = RemoteFile("setid.mat", 14_989, "a5357ecc9cb78c4bef273ce3793fc85c")
OFFICIAL = Official(NAME, (IMAGES, LABELS, PARTS), ("http://paddlemodels.bj.bcebos.com/flowers/",))
KEYS = {"paddle": ("tstid", "valid", "trnid"), "authors": ("trnid", "valid", "tstid")}
"""Which list of `setid.mat` is train, valid and test."""


def flowers(
    *,
    root: str | None = None,
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    size: int = 64,
    split: Literal["paddle", "authors"] = "paddle",
    limit: int | None = None,
) -> Data:
    """102 kinds of flowers: 8,189 colour photographs, scaled to one size.

    The files are `102flowers.tgz`, `imagelabels.mat` and `setid.mat`. Their places, in this order: `root`,
    `$EXPKIT_DATA_DIR/flowers`, the user's cache, a download into the cache. Photographs are decoded once at the start,
    scaled as `predict` scales them, and kept in memory: 100 MB for 64 pixels, 1.2 GB for 224. Nothing is unpacked on
    disk. The classes have no names in these files; they are called by their numbers, from 1.

    Args:
        root: folder that holds the files; null searches $EXPKIT_DATA_DIR, the cache and the net.
        download: whether files may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means Paddle's.
        check: accept only the official files; false takes any in this format.
        size: rows and columns that photographs are scaled to.
        split: "paddle" trains on the 6,149 that Paddle's own class trains on, and tests on 1,020; "authors" is the
            other way round, as in the paper.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: files are missing, damaged or foreign.
    """
    check_limit(NAME, limit)
    check_choice(NAME, "split", split, tuple(KEYS))
    if size < 8:
        raise ConfigError(f"dataset '{NAME}': size is {size}; expected 8 or more. Set dataset.size.")
    place = OFFICIAL.place(root, may_download=download, mirrors=mirrors)
    there = names_in(place.folder, dataset=NAME)
    missing = [file.name for file in OFFICIAL.files if file.name not in there]
    if missing:
        raise DataError(f"dataset '{NAME}': {place.folder} holds no {', no '.join(missing)}. Put the files there.")
    checked = [OFFICIAL.check(place.folder / file.name, file.md5, strict=check) for file in OFFICIAL.files]
    classes = _matrix(place.folder / LABELS.name, "labels").astype(np.int64) - 1
    fifth = None if limit is None else max(1, limit // 5)
    numbers = [
        _matrix(place.folder / PARTS.name, key).astype(np.int64)[:keep]
        for key, keep in zip(KEYS[split], (limit, fifth, fifth), strict=True)
    ]
    if classes.min() < 0 or classes.max() >= CLASSES or any(n.min() < 1 or n.max() > len(classes) for n in numbers):
        raise DataError(f"dataset '{NAME}': {LABELS.name} and {PARTS.name} do not go together. Delete them, run again.")
    reader = ImageInput(size, size, 3, (0.0,) * 3, (1.0,) * 3)
    photographs = _photographs(place.folder / IMAGES.name, set(np.concatenate(numbers).tolist()), reader)
    splits = [ArraySplit(np.stack([photographs[n] for n in part.tolist()]), classes[part - 1]) for part in numbers]
    mean, std = zip(*(pixel_statistics(splits[0].inputs[..., channel]) for channel in range(3)), strict=True)
    labels = tuple(str(number) for number in range(1, CLASSES + 1))
    title = NAME if all(checked) else f"{NAME} (unofficial files)"
    found = ImageInput(size, size, 3, mean, std)
    return Data(DataSpec(title, found, Classes(labels), place.source, fingerprint(splits, labels)), *splits)


def _matrix(path: Path, key: str) -> Array:
    from scipy.io import loadmat

    try:
        found: Array = np.asarray(loadmat(path)[key]).reshape(-1)
    except Exception as error:  # of a damaged file, anything
        raise DataError(f"dataset '{NAME}': {path} holds no {key} ({error}). Delete it and run again.") from error
    return found


def _photographs(archive: Path, wanted: set[int], reader: ImageInput) -> dict[int, Array]:
    """Decode the photographs of these numbers from the archive, scaled, [H, W, 3] uint8."""
    found: dict[int, Array] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                number = re.search(r"image_(\d+)\.jpg$", member.name)
                stream: Any = tar.extractfile(member) if number and int(number[1]) in wanted else None
                if number and stream is not None:
                    found[int(number[1])] = reader.read(io.BytesIO(stream.read()))[0]
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"dataset '{NAME}': {archive} is damaged ({error}). Delete it and run again.") from error
    lost = wanted - found.keys()
    if lost:
        raise DataError(f"dataset '{NAME}': {archive} holds no photograph of the number {min(lost)}. Delete it.")
    return found
