"""Datasets that were written for Paddle, and other objects that hold samples, as they are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from expkit.api import Array, ArraySplit, Classes, ConfigError, Data, DataSource, DataSpec, Split, Values
from expkit_datasets import _foreign, _foreign_images, _foreign_targets
from expkit_datasets._checks import check_choice, check_limit
from expkit_datasets._foreign import NAME, Reader
from expkit_datasets.images import pixel_statistics
from expkit_datasets.splits import cut
from expkit_datasets.tables import NORMALISATIONS, statistics, table_data, values

PARTS = ("train", "valid", "test")
_log = logging.getLogger("expkit.data")


@dataclass(frozen=True)
class _Part:
    """The samples of a reader that belong to one split, with their targets."""

    reader: Reader
    numbers: Array
    targets: Array
    inputs: Array | None


@dataclass(frozen=True)
class LazySplit:
    """A split whose samples are read when a batch is made."""

    reader: Reader
    numbers: Array
    targets: Array
    convert: Callable[[Array, str], Array]
    in_memory = False

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.numbers)

    def gather(self, indices: Array) -> tuple[Array, Array]:
        """Read the chosen samples."""
        chosen = self.numbers[indices].tolist()
        inputs = [self.convert(self.reader.sample(n)[0], f"sample {n} of {self.reader.part}") for n in chosen]
        return np.stack(inputs), self.targets[indices]


def paddle_dataset(
    *,
    of: dict[str, object] = {},  # noqa: B006 - an option's default is a plain value; only read
    valid_of: dict[str, object] = {},  # noqa: B006
    test_of: dict[str, object] = {},  # noqa: B006
    fields: list[int | str] = (0, 1),
    target: str = "auto",
    labels: list[str] = (),
    layout: str = "auto",
    mean: list[float] = (),
    std: list[float] = (),
    normalise: str = "standard",
    valid: float = 0.1,
    test: float = 0.1,
    split_seed: int = 0,
    limit: int | None = None,
    in_memory: bool | str = "auto",
    memory_limit: int = 1000,
) -> Data:
    """A dataset as you have it: a `paddle.io.Dataset` or `IterableDataset`, a generator, a list, a pair of arrays.

    A sample is (input, target), in a tuple, a list or a dict: arrays, tensors or Pillow's images. Inputs with one axis
    are rows of a table; with two or three, images [H, W], [C, H, W] or [H, W, C]. Images of bytes are normalised with
    mean and standard deviation of the training split; images of floats reach the model as they are given.

    Each sample is read once at the start. What has an index and does not fit into memory, or is random each time, is
    then read when it is needed; what can only be gone through is kept in memory. A dataset that augments by itself
    works, but its steps cannot be replayed: use transforms for that.

    Args:
        of: the samples to train on, as `_target_` (package.module.Name) and its arguments; built by then.
        valid_of: those to validate on; cut from the training samples if left out.
        test_of: those to test on; likewise.
        fields: where input and target are in a sample: positions, or keys of a dict.
        target: "classes", "values" (numbers), or "auto": whole numbers and texts are classes.
        labels: names of the classes, in the order of their numbers; found if left out.
        layout: of images: chw, hwc, hw, or "auto", which goes by the axis of 1 or 3.
        mean: what a dataset that normalises images subtracts (of pixel / 255), so that their pixels are known.
        std: what it divides by then.
        normalise: how a table is normalised: "standard", "min_max", "mean" or "none".
        valid: share (below 1) or number of training samples for validation, where `valid_of` is left out.
        test: share (below 1) or number of training samples for test, where `test_of` is left out.
        split_seed: which samples these are; the same seed takes the same ones, of each class alike.
        limit: read only the first so many samples of train, and a fifth as many of valid and test; null reads all.
        in_memory: true keeps all samples, false reads them when needed; "auto" keeps what fits into `memory_limit`.
        memory_limit: in MB (1,000,000 bytes).

    Raises:
        ConfigError: an option has a value that cannot be used.
        DataError: a sample cannot be read, or is not like the others.
    """
    _check(target, normalise, limit, memory_limit, in_memory, fields)
    readers = _readers(dict(zip(PARTS, (of, valid_of, test_of), strict=True)), fields, limit, memory_limit)
    shares = {p: s for p, s in (("valid", valid), ("test", test)) if p not in readers}
    first = readers["train"].sample(0)[0]
    random = any(_foreign.is_random(reader) for reader in readers.values())
    fits = sum(reader.length for reader in readers.values()) * first.nbytes <= memory_limit * 1_000_000
    keep = first.ndim < 2 or (not random and (fits if in_memory == "auto" else bool(in_memory)))
    if random:
        _log.warning(
            "dataset '%s': samples differ each time they are read, so that this run cannot be repeated exactly; leave "
            "random changes out of the dataset and choose transforms=[...], which can be replayed",
            NAME,
        )
    names, parts, digest = _read(readers, target, labels, shares, split_seed, keep=keep, random=random)
    title, source = _origin(of)
    if first.ndim < 2:
        return _table(title, source, parts, names, normalise)
    return _images(title, source, parts, names, (layout, mean, std), digest)


def _check(
    target: str,
    normalise: str,
    limit: int | None,
    memory_limit: int,
    in_memory: bool | str,
    fields: Sequence[int | str],
) -> None:
    check_choice(NAME, "target", target, _foreign_targets.TARGETS)
    check_choice(NAME, "normalise", normalise, NORMALISATIONS)
    check_limit(NAME, limit)
    check_limit(NAME, memory_limit, "memory_limit")
    if in_memory not in (True, False, "auto"):
        raise ConfigError(f"dataset.in_memory={in_memory!r}: must be true, false or auto.")
    if len(fields) != 2:
        raise ConfigError(f"dataset.fields={list(fields)}: give two, that of the input and that of the target.")


def _origin(train: Any) -> tuple[str, DataSource]:
    """Return name and source of the data: a class or function of its owner's, where it is one."""
    owner = train if callable(train) and hasattr(train, "__qualname__") else type(train)
    if owner.__module__ == "builtins":
        return NAME, DataSource("object", f"a {owner.__name__} of samples")
    name = owner.__qualname__.partition(".<locals>")[0]
    return name, DataSource("object", f"{owner.__module__}.{name}")


def _readers(given: dict[str, Any], fields: Sequence[int | str], limit: int | None, memory: int) -> dict[str, Reader]:
    if isinstance(given["train"], dict) and not given["train"]:
        raise ConfigError(
            "dataset.of is missing: dataset.of._target_=my_data.Train (a class or function), and its arguments as "
            "+dataset.of.NAME=VALUE."
        )
    fifth = None if limit is None else max(1, limit // 5)
    readers = {
        part: _foreign.reader(what, part, fields, limit if part == "train" else fifth, memory)
        for part, what in given.items()
        if not (isinstance(what, dict) and not what)
    }
    kinds = {part: reader.sample(0)[0].dtype.kind for part, reader in readers.items()}
    if len(set(kinds.values())) > 1:  # as where one of them was normalised, and another was not
        told = ", ".join(f"{part} {readers[part].sample(0)[0].dtype}" for part in readers)
        raise ConfigError(f"dataset '{NAME}': inputs differ in kind: {told}. Give all of them the same transform.")
    return readers


def _read(
    readers: dict[str, Reader],
    target: str,
    labels: Sequence[str],
    shares: dict[str, float],
    seed: int,
    *,
    keep: bool,
    random: bool,
) -> tuple[tuple[str, ...] | None, list[_Part], str]:
    """Read everything once: names of the classes, the three parts, and a hash of all samples."""
    inputs: dict[str, list[Array]] = {}
    targets: dict[str, list[Any]] = {}
    digest = hashlib.sha256(f"{sorted(shares.items())} {seed}".encode())
    for part, reader in readers.items():
        inputs[part], targets[part] = [], []
        for number in range(reader.length):
            given, goal = reader.sample(number)
            if keep:
                inputs[part].append(given)
            targets[part].append(goal)
            digest.update(_foreign.content([(np.zeros(given.shape) if random else given, goal)]).encode())
    names = _foreign_targets.labels_of(targets["train"], target, labels)
    made = {
        part: _foreign_targets.as_values(goals, part)
        if names is None
        else _foreign_targets.as_classes(goals, names, part)
        for part, goals in targets.items()
    }
    groups = made["train"] if names is not None else np.zeros(len(made["train"]), dtype=np.int64)
    chosen = cut(NAME, groups, (), shares, seed) if shares else {"train": np.arange(len(groups))}
    parts = []
    for part in PARTS:
        of = part if part in readers else "train"
        numbers = chosen[part] if part in chosen else np.arange(readers[of].length)
        kept = _stacked(inputs[of], numbers, of) if keep else None
        parts.append(_Part(readers[of], numbers, made[of][numbers], kept))
    return names, parts, digest.hexdigest()


def _stacked(inputs: list[Array], numbers: Array, part: str) -> Array:
    for number, given in enumerate(inputs):
        if given.shape != inputs[0].shape:
            raise _foreign.DataError(
                f"dataset '{NAME}': sample {number} of {part} has the shape {list(given.shape)}, the first one "
                f"{list(inputs[0].shape)}. All need one shape: resize or pad them in the dataset."
            )
    return np.stack([inputs[number] for number in numbers.tolist()])


def _table(title: str, source: DataSource, parts: list[_Part], names: tuple[str, ...] | None, normalise: str) -> Data:
    rows = [np.asarray(p.inputs, dtype=np.float64).reshape(len(p.numbers), -1) for p in parts]
    goal = Classes(names) if names is not None else values(_value_names(parts))
    columns = [f"x{number}" for number in range(rows[0].shape[1])]
    return table_data(
        title,
        source,
        columns=columns,
        target=goal,
        splits=[(x, p.targets) for x, p in zip(rows, parts, strict=True)],
        normalise=normalise,
        precision="float32",
    )


def _value_names(parts: list[_Part]) -> list[str]:
    return [f"y{number}" for number in range(parts[0].targets.shape[1])] if parts[0].targets.shape[1] > 1 else ["y"]


def _images(
    title: str,
    source: DataSource,
    parts: list[_Part],
    names: tuple[str, ...] | None,
    form: tuple[str, Sequence[float], Sequence[float]],
    digest: str,
) -> Data:
    some = [parts[0].reader.sample(int(number))[0] for number in parts[0].numbers[:16]]
    pixels = _foreign_images.recognise(some, *form)
    goal: Classes | Values = Classes(names) if names is not None else _learned(parts)
    goals = [p.targets if names is not None else goal.normalise(p.targets) for p in parts]  # type: ignore[union-attr]
    splits: list[Split] = []
    for part, targets in zip(parts, goals, strict=True):
        if part.inputs is None:
            splits.append(LazySplit(part.reader, part.numbers, targets, pixels.raw))
        else:
            raw = np.stack([pixels.raw(image, "an image") for image in part.inputs])
            splits.append(ArraySplit(raw, targets))
    if some[0].dtype.kind == "f" or form[1]:
        reader = pixels.input(pixels.mean.tolist(), pixels.std.tolist())  # as a script fed them
    else:
        sample, _ = splits[0].gather(np.linspace(0, len(splits[0]) - 1, min(1000, len(splits[0])), dtype=np.int64))
        known = sample if part.inputs is None else splits[0].inputs  # type: ignore[attr-defined]
        planes = [known] if pixels.channels == 1 else [known[..., channel] for channel in range(3)]
        means, stds = zip(*map(pixel_statistics, planes), strict=True)
        reader = pixels.input(means, stds)
    return Data(DataSpec(title, reader, goal, source, digest), *splits)


def _learned(parts: list[_Part]) -> Values:
    mean, scale = statistics(parts[0].targets, "standard")
    return replace(values(_value_names(parts)), mean=mean, scale=scale)
