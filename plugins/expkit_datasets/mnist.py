"""MNIST: 70,000 images of handwritten digits (LeCun, Cortes, Burges)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expkit.api import Array, ConfigError, Data, DataError, DataSource
from expkit_datasets import digits
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets.idx import REMEDY, content_md5, read_idx
from expkit_datasets.images import TARGETS, image_data
from expkit_datasets.mnist_json import NAMES as JSON_NAMES
from expkit_datasets.mnist_json import read_json
from expkit_datasets.sources import Place, RemoteFile, UnavailableError, download, locate, names_in

NAME = "mnist"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_SIDE = 28


@dataclass(frozen=True)
class _Part:
    """One of the four files.

    Attributes:
        stem: its name without ".gz".
        ndim: 3 for images, 1 for labels.
        content_md5: of the official file, uncompressed.
        packed: the official gzip file, for the download.
    """

    stem: str
    ndim: int
    content_md5: str
    packed: RemoteFile

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which the file is seen in the wild."""
        dotted = self.stem.replace("-idx", ".idx")
        return (f"{self.stem}.gz", self.stem, f"{dotted}.gz", dotted)


def _part(stem: str, ndim: int, content_md5: str, size: int, md5: str) -> _Part:
    return _Part(stem, ndim, content_md5, RemoteFile(f"{stem}.gz", size, md5))


PARTS = {
    "train_images": _part(
        "train-images-idx3-ubyte",
        3,
        "6bbc9ace898e44ae57da46a324031adb",
        9_912_422,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
    "train_labels": _part(
        "train-labels-idx1-ubyte",
        1,
        "a25bea736e30d166cdddb491f175f624",
        28_881,
        "d53e105ee54ea40749a09fcbcd1e9432",
    ),
    "test_images": _part(
        "t10k-images-idx3-ubyte",
        3,
        "2646ac647ad5339dbf082846283269ea",
        1_648_877,
        "9fb629c4189551a2d022fa330f9573f3",
    ),
    "test_labels": _part(
        "t10k-labels-idx1-ubyte",
        1,
        "27ae3e4e09519cfbb04c329615203637",
        4_542,
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
}


def mnist(
    *,
    root: str | None = None,
    on_missing: str = "stand-in",
    download: bool = True,
    mirrors: list[str] | None = None,
    check: bool = True,
    valid: int = 10_000,
    train: int | None = None,
    target: str = "class",
    limit: int | None = None,
) -> Data:
    """MNIST: 28x28 grey images of handwritten digits, 60,000 for training and 10,000 for test.

    The files are IDX (gzipped or not) or the textbook's `mnist.json.gz`. Their places, in this order: `root`,
    `$EXPKIT_DATA_DIR/mnist`, the user's cache, a download into the cache, the stand-in.

    Args:
        root: folder that holds the files; null searches $EXPKIT_DATA_DIR, the cache and the net.
        on_missing: without any files, "stand-in" goes on with scikit-learn's digits, "error" stops.
        download: whether files may be downloaded into the cache.
        mirrors: addresses to download from, tried in order; null means the well-known public mirrors.
        check: accept only the official files; false takes any digits of 28x28 in MNIST's format.
        valid: number of samples, taken from the end of the training files, that are kept for validation.
        train: number of samples, the first of the training files, to train on; null takes all but those of `valid`.
        target: what a digit is for the model: a "class" of ten, or a "number" to predict.
        limit: keep only the first samples of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: files are missing, damaged or foreign, or there are none and `on_missing` is "error".
    """
    check_choice(NAME, "on_missing", on_missing, ("stand-in", "error"))
    check_choice(NAME, "target", target, TARGETS)
    check_limit(NAME, limit)
    check_limit(NAME, train, "train")
    chosen = MIRRORS if mirrors is None else tuple(mirrors)
    try:
        place = locate(
            NAME,
            root=root,
            complete=_is_complete,
            fetch=(lambda folder: _download(folder, chosen)) if download else None,
        )
    except UnavailableError as error:
        return _without_files(str(error), on_missing, target, limit, train)
    return _read(place, check=check, valid=valid, target=target, limit=limit, few=train)


def _read(place: Place, *, check: bool, valid: int, target: str, limit: int | None, few: int | None) -> Data:
    files = _files(place.folder)
    _check_pair(files, "train_images", "train_labels")
    _check_pair(files, "test_images", "test_labels")
    official = _are_official(files, strict=check)
    arrays = {key: values for key, (_, values) in files.items()}
    images, labels = arrays["train_images"], arrays["train_labels"]
    if not 1 <= valid < len(images):
        raise ConfigError(
            f"dataset '{NAME}': valid is {valid:,}; expected 1 to {len(images) - 1:,}, as there are "
            f"{len(images):,} training samples. Set dataset.valid."
        )
    end = len(images) - valid
    return image_data(
        NAME if official else f"{NAME} (unofficial files)",
        place.source,
        train=(images[:end], labels[:end]),
        valid=(images[end:], labels[end:]),
        test=(arrays["test_images"], arrays["test_labels"]),
        target=target,
        limit=limit,
        few=few,
    )


def _without_files(reason: str, on_missing: str, target: str, limit: int | None, few: int | None) -> Data:
    if on_missing == "error":
        raise DataError(
            f"dataset '{NAME}': no files: {reason}. Set dataset.root or EXPKIT_DATA_DIR, "
            "or dataset.on_missing=stand-in to train on scikit-learn's digits."
        )
    name = f"digits (stand-in for {NAME})"
    source = DataSource("stand-in", digits.LOCATION, stand_in_for=NAME, note=reason)
    return digits.load(name, source, target, limit, few)


def _files(folder: Path) -> dict[str, tuple[Path, Array]]:
    """Read the files of a folder: (path, values) of each part.

    Raises:
        DataError: the folder holds no MNIST or a part of it, or a file is damaged.
    """
    names = names_in(folder, dataset=NAME)
    found = _found(names)
    json_names = [name for name in JSON_NAMES if name in names]
    if json_names and not found:
        path = folder / json_names[0]
        return {key: (path, values) for key, values in read_json(path, dataset=NAME).items()}
    missing = [part.stem for key, part in PARTS.items() if key not in found]
    if missing:
        raise DataError(_missing_text(folder, missing, names))
    return {
        key: (folder / found[key], read_idx(folder / found[key], ndim=part.ndim, dataset=NAME))
        for key, part in PARTS.items()
    }


def _missing_text(folder: Path, missing: list[str], names: set[str]) -> str:
    text = f"dataset '{NAME}': {folder} holds no {', no '.join(missing)} (.gz or not)"
    if len(missing) == len(PARTS):
        text += f" and no {JSON_NAMES[0]}; it holds {', '.join(sorted(names)[:5]) or 'nothing'}"
        if NAME in names and (folder / NAME).is_dir():
            return f"{text}. Did you mean dataset.root={folder / NAME}?"
    return f"{text}. Put the file there, or set dataset.root to a folder that holds all four."


def _found(names: set[str]) -> dict[str, str]:
    """Return the file name of each part that is there."""
    found = {key: next((name for name in part.names if name in names), "") for key, part in PARTS.items()}
    return {key: name for key, name in found.items() if name}


def _is_complete(folder: Path) -> bool:
    names = _cached_names(folder)
    found = _found(names)
    return len(found) == len(PARTS) or (not found and any(name in names for name in JSON_NAMES))


def _cached_names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _download(folder: Path, mirrors: tuple[str, ...]) -> str:
    found = _found(_cached_names(folder))
    files = [part.packed for key, part in PARTS.items() if key not in found]
    return download(files, [m if m.endswith("/") else f"{m}/" for m in mirrors], folder, dataset=NAME)


def _check_pair(files: dict[str, tuple[Path, Array]], images_key: str, labels_key: str) -> None:
    (images_path, images), (labels_path, labels) = files[images_key], files[labels_key]
    if len(images) != len(labels):
        raise DataError(
            f"dataset '{NAME}': {images_path} holds {len(images):,} images, but {labels_path} holds "
            f"{len(labels):,} labels. {REMEDY}"
        )
    if not len(images) or images.shape[1:] != (_SIDE, _SIDE):
        size = " x ".join(map(str, images.shape[1:]))
        raise DataError(
            f"dataset '{NAME}': {images_path} holds {len(images):,} images of {size} pixels; expected at "
            f"least one, of {_SIDE} x {_SIDE}. Set dataset.root to a folder that holds MNIST."
        )
    if labels.max() > 9:
        raise DataError(
            f"dataset '{NAME}': {labels_path} holds the label {labels.max()} (sample "
            f"{int(labels.argmax()):,}); expected 0 to 9. {REMEDY}"
        )


def _are_official(files: dict[str, tuple[Path, Array]], *, strict: bool) -> bool:
    official = True
    for key, (path, values) in files.items():
        found, expected = content_md5(values), PARTS[key].content_md5
        official = official and found == expected
        if strict and not official:
            whole, what = (60_000 if key.startswith("train") else 10_000), key.replace("_", " ")
            differs = f"have md5 {found}, expected {expected}" if len(values) == whole else f"should be {whole:,}"
            raise DataError(
                f"dataset '{NAME}': {path} is not the official file: its {len(values):,} {what} {differs}. "
                "Delete it and run again, "
                "set dataset.root, or accept it with dataset.check=false."
            )
    return official
