"""Fashion-MNIST: 70,000 images of clothes (Xiao, Rasul, Vollgraf 2017)."""

from __future__ import annotations

from pathlib import Path

from expkit.api import Array, Data, DataError
from expkit_datasets._checks import check_limit
from expkit_datasets._official import Official, labelled
from expkit_datasets.idx import read_idx
from expkit_datasets.sources import RemoteFile, names_in

NAME = "fashion_mnist"
LABELS = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
FILES = {
    "train_images": RemoteFile("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    "train_labels": RemoteFile("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    "test_images": RemoteFile("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
    "test_labels": RemoteFile("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
}
OFFICIAL = Official(NAME, tuple(FILES.values()), ("https://dataset.bj.bcebos.com/fashion_mnist/",))


def fashion_mnist(
    *,
    root: str | None = None,
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    valid: int = 10_000,
    limit: int | None = None,
) -> Data:
    """Fashion-MNIST: 28x28 grey images of ten kinds of clothes, 60,000 for training and 10,000 for test.

    The four files are IDX, gzipped as they are downloaded. Their places, in this order: `root`,
    `$EXPKIT_DATA_DIR/fashion_mnist`, the user's cache, a download into the cache.

    Args:
        root: folder that holds the files; null searches $EXPKIT_DATA_DIR, the cache and the net.
        download: whether files may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means Paddle's.
        check: accept only the official files; false takes any images in this format.
        valid: number of samples, taken from the end of the training files, that are kept for validation.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: files are missing, damaged or foreign.
    """
    check_limit(NAME, limit)
    place = OFFICIAL.place(root, may_download=download, mirrors=mirrors)
    missing = [file.name for file in FILES.values() if file.name not in names_in(place.folder, dataset=NAME)]
    if missing:
        raise DataError(f"dataset '{NAME}': {place.folder} holds no {', no '.join(missing)}. Put the files there.")
    checked = [OFFICIAL.check(place.folder / file.name, file.md5, strict=check) for file in FILES.values()]
    train, test = (_pair(place.folder, part) for part in ("train", "test"))
    name = NAME if all(checked) else f"{NAME} (unofficial files)"
    return labelled(name, place.source, LABELS.split(","), train=train, test=test, valid=valid, limit=limit)


def _pair(folder: Path, part: str) -> tuple[Array, Array]:
    paths = [folder / FILES[f"{part}_{what}"].name for what in ("images", "labels")]
    images, labels = (read_idx(path, ndim=ndim, dataset=NAME) for path, ndim in zip(paths, (3, 1), strict=True))
    if len(images) != len(labels):
        raise DataError(
            f"dataset '{NAME}': {paths[0]} holds {len(images):,} images, but {paths[1]} {len(labels):,} labels."
        )
    return images, labels
