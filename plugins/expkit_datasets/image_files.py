"""Finds and reads the images of `image_folder`: one folder a class, in an order that no file system decides."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expkit.api import Array, DataError, ImageInput
from expkit_datasets.sources import names_in

NAME = "image_folder"
PARTS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""What sub-folders with splits are called, and the split that each of them is."""
_CHUNK = 1 << 20
_log = logging.getLogger("expkit.data")


@dataclass(frozen=True)
class Files:
    """Image files and their classes.

    Attributes:
        paths: of the N files.
        classes: [N] int64.
    """

    paths: tuple[Path, ...]
    classes: Array

    def __len__(self) -> int:
        """Number of files."""
        return len(self.paths)

    def take(self, indices: Array) -> Files:
        """Return the files with these numbers, in this order."""
        return Files(tuple(self.paths[i] for i in indices.tolist()), self.classes[indices])


@dataclass(frozen=True)
class FileSplit:
    """A split that stays on disk: each batch decodes its files.

    Attributes:
        files: images and classes.
        reader: what decodes a file, for training as for `predict`.
    """

    files: Files
    reader: ImageInput
    in_memory = False

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.files)

    def gather(self, indices: Array) -> tuple[Array, Array]:
        """Read the chosen files.

        Raises:
            DataError: one of them is damaged.
        """
        chosen = self.files.take(indices)
        return read_images(chosen.paths, self.reader), chosen.classes


def read_images(paths: Sequence[Path], reader: ImageInput) -> Array:
    """Read files as [N, H, W] (grey) or [N, H, W, 3] uint8.

    Raises:
        DataError: at least one is damaged; names the first five.
    """
    size = (reader.height, reader.width) if reader.channels == 1 else (reader.height, reader.width, reader.channels)
    out = np.empty((len(paths), *size), dtype=np.uint8)
    damaged = []
    for number, path in enumerate(paths):
        try:
            out[number] = reader.read(path)[0]
        except ValueError as error:
            damaged.append(f"{path}: {error}")
    if damaged:
        more = f" and {len(damaged) - 5:,} more" if len(damaged) > 5 else ""
        count = "a file is" if len(damaged) == 1 else f"{len(damaged):,} files are"
        raise DataError(f"dataset '{NAME}': {count} damaged: {'; '.join(damaged[:5])}{more}. Replace or delete them.")
    return out


def find(root: Path) -> tuple[tuple[str, ...], dict[str, Files]]:
    """Find all images below a folder of classes, or below one of splits that hold folders of classes.

    Returns:
        The names of the classes, and the files of each split that has a folder; of "train" alone if none has.

    Raises:
        DataError: there are no classes, a class has no image, or a split has a class that training has not.
    """
    folders = {name for name in names_in(root, dataset=NAME) if (root / name).is_dir() and not _is_hidden(name)}
    parts = {"train": root}
    if "train" in folders and folders <= set(PARTS):
        named = sorted(folders)
        parts = {PARTS[name]: root / name for name in named}
        if len(parts) < len(named):
            raise DataError(
                f"dataset '{NAME}': {root} holds {', '.join(named)}, two of which are one split. Merge them."
            )
    labels = _classes(parts["train"])
    suffixes, found = _suffixes(), {}
    for part, folder in parts.items():
        strange = [name for name in _subfolders(folder) if name not in labels]
        if strange:
            raise DataError(
                f"dataset '{NAME}': {folder / strange[0]} is no class of training ({', '.join(labels[:10])}). Remove "
                "it, or add it to the training folder."
            )
        found[part] = _files(folder, labels, suffixes, needs_all=part == "train")
    return labels, found


def fingerprint(splits: Sequence[Files], labels: Sequence[str], form: str) -> str:
    """Return the SHA-256 (hex) over labels, form of the images, and class and bytes of all files, in order."""
    digest = hashlib.sha256("\0".join([form, *labels]).encode())
    for files in splits:
        digest.update(f"{len(files)}".encode())
        for path, number in zip(files.paths, files.classes.tolist(), strict=True):
            digest.update(f"{number}:{_content(path)}".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"dataset '{NAME}': {path} cannot be read ({error.strerror}). Make it readable.") from error
    return digest.hexdigest()


def _classes(folder: Path) -> tuple[str, ...]:
    labels = tuple(_subfolders(folder))
    if len(labels) > 1:
        return labels
    inner = folder / labels[0] if labels else folder
    hint = f"Did you mean dataset.root={inner}?" if labels and len(_subfolders(inner)) > 1 else "Set dataset.root."
    held = f"one folder, {labels[0]}" if labels else "no folders"
    raise DataError(f"dataset '{NAME}': {folder} holds {held}; at least two are expected, one for each class. {hint}")


def _subfolders(folder: Path) -> list[str]:
    return sorted(name for name in names_in(folder, dataset=NAME) if (folder / name).is_dir() and not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _files(folder: Path, labels: Sequence[str], suffixes: frozenset[str], *, needs_all: bool) -> Files:
    paths: list[Path] = []
    classes: list[int] = []
    others = 0
    for number, label in enumerate(labels):
        inside = [path for path in (folder / label).rglob("*") if path.is_file() and not _is_hidden(path.name)]
        images = [path for path in inside if path.suffix.lower() in suffixes]
        if not images and needs_all:
            raise DataError(f"dataset '{NAME}': {folder / label} holds no image. Remove it, or put images there.")
        paths += sorted(images, key=lambda path: path.relative_to(folder).as_posix())
        classes += [number] * len(images)
        others += len(inside) - len(images)
    if not paths:
        raise DataError(f"dataset '{NAME}': {folder} holds no image. Remove it, or put images there.")
    if others:
        _log.info("%s: %s files are no images, by their names, and are left out", folder, f"{others:,}")
    return Files(tuple(paths), np.array(classes, dtype=np.int64))


def _suffixes() -> frozenset[str]:
    """Return the endings of all files that Pillow reads, in small letters."""
    from PIL import Image

    formats = Image.registered_extensions()
    return frozenset(suffix for suffix, name in formats.items() if name in Image.OPEN)
