"""What the datasets of well-known files share: where the files are, whether they are the official ones, and `Data`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expkit.api import Array, ArraySplit, Classes, ConfigError, Data, DataError, DataSource, DataSpec, ImageInput
from expkit_datasets.images import Labelled, fingerprint, pixel_statistics
from expkit_datasets.sources import Place, RemoteFile, UnavailableError, download, locate

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Official:
    """A dataset and its files.

    Attributes:
        name: of the dataset, and of its folder in $EXPKIT_DATA_DIR and in the cache.
        files: as they are downloaded.
        mirrors: base addresses, tried in order.
    """

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]

    def place(self, root: str | None, *, may_download: bool, mirrors: Sequence[str] | None) -> Place:
        """Return the folder that holds the files, as `sources.locate` finds it.

        Raises:
            DataError: no place has them.
        """
        chosen = self.mirrors if mirrors is None else mirrors

        def fetch(folder: Path) -> str:
            missing = [file for file in self.files if not (folder / file.name).is_file()]
            return download(missing, [m if m.endswith("/") else f"{m}/" for m in chosen], folder, dataset=self.name)

        def complete(folder: Path) -> bool:
            return all((folder / file.name).is_file() for file in self.files)

        try:
            return locate(self.name, root=root, complete=complete, fetch=fetch if may_download else None)
        except UnavailableError as error:
            names = ", ".join(file.name for file in self.files)
            raise DataError(
                f"dataset '{self.name}': no files: {error}. Put {names} into a folder, and set dataset.root to it."
            ) from error

    def check(self, path: Path, md5: str, *, strict: bool) -> bool:
        """Say whether a file is the official one.

        Raises:
            DataError: it is not, and `strict` forbids that; or it cannot be read.
        """
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise DataError(f"dataset '{self.name}': {path} cannot be read ({error.strerror}).") from error
        if strict and digest.hexdigest() != md5:
            raise DataError(
                f"dataset '{self.name}': {path} is not the official file: its md5 is {digest.hexdigest()}, expected "
                f"{md5}. Delete it and run again, set dataset.root, or accept it with dataset.check=false."
            )
        return digest.hexdigest() == md5


def labelled(
    name: str,
    source: DataSource,
    labels: Sequence[str],
    *,
    train: Labelled,
    test: Labelled,
    valid: int,
    limit: int | None,
) -> Data:
    """Make `Data` of labelled images of bytes; the last of the training samples are those of validation.

    Args:
        name: the data's true name.
        source: where the data came from.
        labels: names of the classes.
        train: images [N, H, W] or [N, H, W, 3] uint8 and classes [N].
        test: likewise.
        valid: number of samples for validation.
        limit: keep the first samples of train, and a fifth as many of the others; None keeps all.

    Raises:
        ConfigError: nothing is left for training or for validation.
        DataError: a class has no name.
    """
    images, classes = train
    for part, given in (("train", classes), ("test", test[1])):
        if len(given) == 0 or given.min() < 0 or given.max() >= len(labels):
            raise DataError(f"dataset '{name}': the classes of {part} are not all within 0 to {len(labels) - 1}.")
    if not 1 <= valid < len(images):
        raise ConfigError(
            f"dataset '{name}': valid is {valid:,}; expected 1 to {len(images) - 1:,}, as there are {len(images):,} "
            "training samples. Set dataset.valid."
        )
    end = len(images) - valid
    fifth = None if limit is None else max(1, limit // 5)
    splits = [
        _split(images[:end], classes[:end], limit),
        _split(images[end:], classes[end:], fifth),
        _split(*test, fifth),
    ]
    pixels = splits[0].inputs
    planes = [pixels] if pixels.ndim == 3 else [pixels[..., channel] for channel in range(3)]
    mean, std = zip(*map(pixel_statistics, planes), strict=True)
    height, width = pixels.shape[1:3]
    reader = ImageInput(height, width, len(planes), mean, std)
    return Data(DataSpec(name, reader, Classes(tuple(labels)), source, fingerprint(splits, labels)), *splits)


def _split(images: Array, classes: Array, keep: int | None) -> ArraySplit:
    return ArraySplit(np.ascontiguousarray(images[:keep]), classes[:keep].astype(np.int64))
