"""How fast batches come in each loading mode, against the textbook's per-item Dataset in `paddle.io.DataLoader`.

    python benchmarks/input.py [--rounds 5] [--cases plain shift png train]

A round runs all sides of a case, one after the other, in one process; printed are the medians of the rounds and the
median of the rounds' ratios to the first side. Every side gives shuffled, normalised batches as Paddle tensors, and its
time is that of a whole epoch with the start of its processes.

    plain  MNIST held in memory, batches of 64; also as the book has it after reading its JSON file, lists of numbers
    shift  the same, each image moved by up to two pixels
    png    256 colour pictures of 128 x 128, decoded when they are asked for, batches of 32
    train  training steps: the textbook's MLP and CNN on MNIST, the MLP on the pictures

MNIST is the genuine one where EXPKIT_DATA_DIR has it, else noise of its shape.

An epoch of `paddle.io.DataLoader` with workers may stand still for ever (docs/design/0007-loading.md): end the run, and
begin again with the cases that are missing.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from expkit import cpu_tuning, device
from expkit.api import Array, ArraySplit, Classes, DataSource, DataSpec, ImageInput
from expkit.config import compose
from expkit.data import Batches
from expkit.loading import Loading
from expkit.parts import ConfiguredParts

MODES = {"sync": Loading(), "prefetch": Loading("prefetch"), "workers 2": Loading("workers", workers=2)}
TEXTBOOK = {f"textbook, {n} workers": n for n in (0, 2, 4)}
SAMPLES, STEPS = "samples/s", "ms a step"
Sides = dict[str, Callable[[], float]]


class PngSplit:
    """Pictures that are decoded when they are asked for."""

    def __init__(self, count: int, side: int) -> None:
        from PIL import Image

        random = np.random.default_rng(0)
        # Noise enlarged: compresses about as well as a photograph.
        small = random.integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
        self.files = []
        for pixels in small:
            with io.BytesIO() as file:
                Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
                self.files.append(file.getvalue())
        self.targets = random.integers(0, 10, count)

    def __len__(self) -> int:
        return len(self.files)

    def item(self, index: int) -> Array:
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.files[index])))

    def gather(self, indices: Array) -> tuple[Array, Array]:
        return np.stack([self.item(i) for i in indices]), self.targets[indices]


def spec_of(side: int, channels: int) -> DataSpec:
    read = ImageInput(side, side, channels, (0.5,) * channels, (0.25,) * channels)
    return DataSpec("benchmark", read, Classes(tuple("0123456789")), DataSource("generated", ""), "")


def mnist(samples: int) -> ArraySplit:
    if (Path(os.environ.get("EXPKIT_DATA_DIR", "")) / "mnist").is_dir():
        found = compose(["dataset=mnist", "model=mlp"]).dataset.build().train
        return ArraySplit(found.inputs[:samples], found.targets[:samples])
    print("no genuine MNIST: noise of its shape")
    random = np.random.default_rng(0)
    return ArraySplit(random.integers(0, 256, (samples, 28, 28), dtype=np.uint8), random.integers(0, 10, samples))


class Textbook:
    """One sample an item, as the textbook writes it; a `paddle.io.Dataset` but for the name of its base."""

    def __init__(self, item: Callable[[int], Array], targets: Array, spec: DataSpec, shift: bool) -> None:
        self.item, self.targets, self.shift = item, targets, shift
        self.mean, self.std = np.float32(spec.input.mean[0] * 255), np.float32(spec.input.std[0] * 255)
        self.channels = spec.input.channels

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        image = self.item(index)
        if self.shift:
            top, left = np.random.randint(0, 5, 2)
            image = np.pad(image, 2)[top : top + image.shape[0], left : left + image.shape[1]]
        image = (image.astype("float32") - self.mean) / self.std
        image = image[None] if self.channels == 1 else image.transpose(2, 0, 1)
        return image, np.array(self.targets[index]).astype("int64")


class AsPrinted:
    """The book's `MnistDataset` on what it reads from its JSON file: a list of numbers for each image."""

    def __init__(self, split: ArraySplit) -> None:
        numbers = [value / 255.0 for value in range(256)]
        self.images = [[numbers[pixel] for pixel in image.ravel().tolist()] for image in split.inputs]
        self.labels = split.targets.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        image = np.reshape(self.images[index], [1, 28, 28]).astype("float32")
        return image, np.reshape(self.labels[index], [1]).astype("int64")


def seconds(epoch: Callable[[], Iterable[Any]]) -> float:
    """Time a whole epoch; batches are made into tensors where they are none."""
    import paddle

    began = time.perf_counter()
    for inputs, targets in epoch():
        if isinstance(inputs, np.ndarray):
            paddle.to_tensor(inputs)
            paddle.to_tensor(targets)
    return time.perf_counter() - began


def compare(title: str, sides: Sides, rounds: int, count: int, unit: str) -> None:
    """Run all sides in turn, and print their medians and the medians of their ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # a first time, for what is built or cached
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(side())
    first = next(iter(times.values()))
    print(f"\n{title}")
    for name, found in times.items():
        ratios = [a / b for a, b in zip(first, found, strict=True)]
        middle = statistics.median(found)
        value = f"{count / middle:12,.0f}" if unit == SAMPLES else f"{1000 * middle / count:12.2f}"
        print(
            f"  {name:20s}{value} {unit}  {statistics.median(ratios):5.2f}x  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def input_case(
    split: Any, item: Callable[[int], Array], spec: DataSpec, size: int, *, shift: bool = False, lists: bool = False
) -> Sides:
    import paddle

    sides: Sides = {}
    for name, loading in MODES.items():
        batches = Batches(split, spec, batch_size=size, shuffle=True, transforms=shifts(spec, shift), loading=loading)
        sides[name] = partial(seconds, batches.epoch)
    for name, workers in TEXTBOOK.items():
        items = Textbook(item, split.targets, spec, shift)
        sides[name] = partial(seconds, paddle.io.DataLoader(items, batch_size=size, shuffle=True, num_workers=workers))
    if lists:
        made = paddle.io.DataLoader(AsPrinted(split), batch_size=size, shuffle=True)
        sides["textbook as printed"] = partial(seconds, made)
    return sides


def train_case(model: str, split: Any, spec: DataSpec, size: int, *, shift: bool = False) -> Sides:
    config = compose(["dataset=digits", f"model={model}", "optimizer.fused=false"])
    parts = ConfiguredParts(config, spec, steps_per_epoch=len(split) // size, device="cpu")
    learner = config.learner.build(parts=parts)

    def steps(batches: Batches) -> float:
        began = time.perf_counter()
        for inputs, targets in batches.epoch():
            learner.train_step(inputs, targets)
        return time.perf_counter() - began

    sides: Sides = {}
    for name, loading in MODES.items():
        batches = Batches(split, spec, batch_size=size, shuffle=True, transforms=shifts(spec, shift), loading=loading)
        sides[name] = partial(steps, batches)
    return sides


def shifts(spec: DataSpec, wanted: bool) -> list[Any]:
    chosen = compose(["dataset=digits", "model=mlp", "transforms=[shift]"]).transforms["shift"]
    return [chosen.build(spec=spec)] if wanted else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=["plain", "shift", "png", "train"])
    options = parser.parse_args()
    cpu_tuning.tune(True)
    device.select("cpu", 0, 1)
    grey, colour = spec_of(28, 1), spec_of(128, 3)
    digits, pictures = mnist(20_000), PngSplit(256, 128)
    few = ArraySplit(digits.inputs[:6400], digits.targets[:6400])
    fewer = ArraySplit(digits.inputs[:1280], digits.targets[:1280])
    look = digits.inputs.__getitem__
    cases: dict[str, list[tuple[str, int, str, Callable[[], Sides]]]] = {
        "plain": [
            ("plain: MNIST in memory", len(digits), SAMPLES, lambda: input_case(digits, look, grey, 64, lists=True))
        ],
        "shift": [("shift: moved", len(digits), SAMPLES, lambda: input_case(digits, look, grey, 64, shift=True))],
        "png": [("png: decoded", len(pictures), SAMPLES, lambda: input_case(pictures, pictures.item, colour, 32))],
        "train": [
            ("train: MLP, plain", 100, STEPS, lambda: train_case("mlp", few, grey, 64)),
            ("train: MLP, shift", 100, STEPS, lambda: train_case("mlp", few, grey, 64, shift=True)),
            ("train: CNN, shift", 20, STEPS, lambda: train_case("cnn", fewer, grey, 64, shift=True)),
            ("train: MLP, png", 8, STEPS, lambda: train_case("mlp", pictures, colour, 32)),
        ],
    }
    for case in options.cases:
        for title, count, unit, make in cases[case]:
            compare(title, make(), options.rounds, count, unit)


if __name__ == "__main__":
    main()
