"""Any images, in one folder for each class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from expkit.api import ArraySplit, Classes, ConfigError, Data, DataSource, DataSpec, ImageInput, Split
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets.image_files import NAME, Files, FileSplit, find, fingerprint, read_images
from expkit_datasets.images import pixel_statistics
from expkit_datasets.splits import cut

SAMPLED = 1000
"""Training images that mean and standard deviation are learned from, of a set that stays on disk."""
_log = logging.getLogger("expkit.data")


def image_folder(
    *,
    root: str,
    height: int = 64,
    width: int = 64,
    channels: int = 3,
    invert: str = "never",
    in_memory: bool | str = "auto",
    memory_limit: int = 1000,
    valid: float = 0.15,
    test: float = 0.15,
    split_seed: int = 0,
    limit: int | None = None,
) -> Data:
    """Images of your own: `root/CLASS/*.png`, in any size and any format that Pillow reads.

    Where `root` holds a folder `train`, and perhaps `valid` (or `val`) and `test`, the classes are folders in these; a
    split without a folder is cut from the training images. Images are read as `predict` reads them: turned upright,
    scaled to the model's size, grey or RGB. Each file is read once at the start, for the fingerprint.

    Args:
        root: folder that holds a folder of images for each class.
        height: rows of the model's input; images are scaled to it.
        width: columns of the model's input; images are scaled to it.
        channels: 1 (grey) or 3 (RGB).
        invert: "auto" inverts images with a bright border (dark ink on white paper), "never" takes them as they are.
        in_memory: true decodes all images at the start; false decodes those of a batch when it is made, finds a damaged
            file only then, and learns mean and standard deviation from 1,000 training images; "auto" keeps in memory
            what fits into `memory_limit`.
        memory_limit: for "auto", in MB (1,000,000 bytes) of decoded images of the model's size.
        valid: share (below 1) or number of images for validation, where there is no folder with them.
        test: share (below 1) or number of images for test, where there is no folder with them.
        split_seed: which images these are; the same seed takes the same ones, of each class alike.
        limit: keep only so many images of train, and a fifth as many of valid and test; null keeps all.

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: there are no folders of classes, one holds no image, or a file is damaged.
    """
    _check(height, width, channels, invert, in_memory, memory_limit)
    check_limit(NAME, limit)
    folder = Path(root).expanduser()
    labels, found = find(folder)
    shares = {part: share for part, share in (("valid", valid), ("test", test)) if part not in found}
    splits = _splits(found, labels, shares, split_seed, limit)
    reader = ImageInput(height, width, channels, (0.0,) * channels, (1.0,) * channels, invert)
    count = sum(map(len, splits))
    fits = count * height * width * channels <= memory_limit * 1_000_000
    keep = fits if in_memory == "auto" else bool(in_memory)
    _log.info("%s: %s images are %s", folder, f"{count:,}", "kept in memory" if keep else "left on disk")
    digest = fingerprint(splits, labels, f"{height}x{width}x{channels} {invert}")
    kept = _in_memory(splits, reader) if keep else [FileSplit(files, reader) for files in splits]
    image = _normalised(reader, kept[0])
    name = folder.resolve().name or NAME
    return Data(DataSpec(name, image, Classes(labels), DataSource("folder", str(folder)), digest), *kept)


def _check(height: int, width: int, channels: int, invert: str, in_memory: bool | str, memory_limit: int) -> None:
    for option, value in (("height", height), ("width", width), ("memory_limit", memory_limit)):
        if value < 1:
            raise ConfigError(f"dataset '{NAME}': {option} is {value}; expected 1 or more. Set dataset.{option}.")
    if channels not in (1, 3):
        raise ConfigError(
            f"dataset '{NAME}': channels is {channels}; expected 1 (grey) or 3 (RGB). Set dataset.channels."
        )
    if in_memory not in (True, False, "auto"):
        expected = "expected true, false or 'auto'"
        raise ConfigError(f"dataset '{NAME}': in_memory is {in_memory!r}; {expected}. Set dataset.in_memory.")
    check_choice(NAME, "invert", invert, ("never", "auto"))


def _splits(
    found: dict[str, Files], labels: tuple[str, ...], shares: dict[str, float], seed: int, limit: int | None
) -> list[Files]:
    """Return the files of train, valid and test, each in an order in which any stretch has its share of each class."""
    order = cut(NAME, found["train"].classes, labels, shares, seed)
    chosen = {part: found["train"].take(indices) for part, indices in order.items()}
    for part in found.keys() - {"train"}:
        chosen[part] = found[part].take(cut(NAME, found[part].classes, (), {}, seed)["train"])
    fifth = None if limit is None else max(1, limit // 5)
    keep = {"train": limit, "valid": fifth, "test": fifth}
    return [chosen[part].take(np.arange(len(chosen[part]))[:count]) for part, count in keep.items()]


def _in_memory(splits: Sequence[Files], reader: ImageInput) -> list[Split]:
    """Read all splits at once, so that all damaged files are told at once."""
    paths = tuple(path for files in splits for path in files.paths)
    pixels = read_images(paths, reader)
    parts = np.split(pixels, np.cumsum([len(files) for files in splits])[:-1])
    return [ArraySplit(part, files.classes) for part, files in zip(parts, splits, strict=True)]


def _normalised(reader: ImageInput, train: Split) -> ImageInput:
    """Return the reader with mean and standard deviation of each channel of the training images."""
    if isinstance(train, ArraySplit):
        pixels = train.inputs
    else:
        pixels, _ = train.gather(np.linspace(0, len(train) - 1, num=min(SAMPLED, len(train)), dtype=np.int64))
    planes = [pixels] if reader.channels == 1 else [pixels[..., channel] for channel in range(reader.channels)]
    statistics = [pixel_statistics(plane) for plane in planes]
    return replace(reader, mean=tuple(mean for mean, _ in statistics), std=tuple(std for _, std in statistics))
