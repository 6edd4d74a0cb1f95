"""Processor time until a network knows MNIST: expkit, the textbook's script, and a tuned loop written by hand.

    EXPKIT_DATA_DIR=... python benchmarks/time_to_accuracy.py [--seeds 0] [--accuracy 0.99] [--epochs 6]

All three train the textbook's CNN the same way: batches of 64, Adam with a rate that falls from 0.002 to 0 along a half
cosine over the epochs (with a constant 0.001 none was there after 8 of them), 50,000 images. After
each epoch each measures its 10,000 validation images, and ends when their accuracy is reached: that is the only rule,
and the same for all. The time is counted until then, with all imports, reading the data, every validation, and for
expkit everything that it has on by default, up to its picture of mistakes and its export, which come after. The test
images are measured once, at the end and off the clock: they say whether the rule was worth something.

    expkit      `python -m expkit`: tracking (SQLite), checkpoints, metrics
    textbook    the book's script: Dataset and DataLoader item by item, Paddle as it comes
    minimal     data in memory, batches gathered whole, with expkit's settings of the process and its layer fixes

One process for each, one thread each, one after the other in an order that changes with the seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from training import paddle_parts, read_idx

SIDES = ("expkit", "textbook", "minimal")
RATE = 0.002
Found = dict[str, float]
Images = tuple[Any, Any]


def images() -> dict[str, Images]:
    folder = Path(os.environ["EXPKIT_DATA_DIR"]) / "mnist"
    splits = {}
    for name in ("train", "t10k"):
        pixels = read_idx(folder / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
        splits[name] = pixels, read_idx(folder / f"{name}-labels-idx1-ubyte.gz", 8).astype(np.int64)
    pixels, numbers = splits["train"]
    return {
        "train": (pixels[:50_000], numbers[:50_000]),
        "valid": (pixels[50_000:], numbers[50_000:]),
        "test": splits["t10k"],
    }


def expkit(seed: int, goal: float, epochs: int) -> Found:
    import psutil
    from rich.console import Console

    from expkit import experiment
    from expkit.api import Callback
    from expkit.config import compose

    found: Found = {}

    class Goal(Callback):
        def on_epoch_end(self, event: Any) -> None:
            if event.metrics["valid/accuracy"] >= goal:
                event.stop("known")
            times = [one.cpu_times() for one in psutil.Process().children(recursive=True)]  # such as MLflow's process
            seconds = time.process_time() + sum(one.user + one.system for one in times)
            found.update(valid=event.metrics["valid/accuracy"], epochs=event.epoch, seconds=seconds)

    choices = ("+experiment=mnist_cnn", "dataset.batch_size=64", "schedule=cosine", f"optimizer.learning_rate={RATE}")
    options = (f"seed={seed}", f"trainer.epochs={epochs}", "device.threads=1", "export=none", "plots=none")
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere)
        result = experiment.run(compose([*choices, *options]), Path("runs/one"), console, further=[Goal()])
    return {**found, "test": result.metrics["test/accuracy"]}


def by_hand(seed: int, goal: float, epochs: int, batches: Callable[[Images, int, int], Any], tuned: bool) -> Found:
    """Train with a loop; `batches` gives those of a split in an epoch (0: in order)."""
    import paddle

    paddle.seed(seed)
    model, loss, optimizer = paddle_parts("cnn")
    if tuned:
        from expkit_learners.fast_layers import speed_up

        speed_up(model)
    splits = images()

    def accuracy(split: str) -> float:
        model.eval()
        with paddle.no_grad():
            right = [int((model(x).argmax(1) == y.flatten()).sum()) for x, y in batches(splits[split], 0, 1000)]
        model.train()
        return sum(right) / len(splits[split][1])

    step, steps = 0, epochs * math.ceil(len(splits["train"][1]) / 64)
    for epoch in range(1, epochs + 1):
        for inputs, targets in batches(splits["train"], seed * 1000 + epoch, 64):
            optimizer.set_lr(RATE * (1 + math.cos(math.pi * step / steps)) / 2)
            step += 1
            value = loss(model(inputs), targets)
            value.backward()
            optimizer.step()
            optimizer.clear_grad()
        valid = accuracy("valid")
        seconds = time.process_time()
        if valid >= goal:
            break
    return {"valid": valid, "epochs": epoch, "seconds": seconds, "test": accuracy("test")}


def textbook(seed: int, goal: float, epochs: int) -> Found:
    import paddle

    class Items(paddle.io.Dataset):  # type: ignore[misc]
        def __init__(self, split: Images) -> None:
            self.pixels, self.numbers = split

        def __len__(self) -> int:
            return len(self.numbers)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image = self.pixels[index].astype("float32") / 255.0
            return (image - np.float32(0.1307)) / np.float32(0.3081), np.array([self.numbers[index]], dtype="int64")

    def batches(split: Images, epoch: int, size: int) -> Any:
        np.random.seed(epoch)
        return paddle.io.DataLoader(Items(split), batch_size=size, shuffle=epoch > 0)

    return by_hand(seed, goal, epochs, batches, tuned=False)


def minimal(seed: int, goal: float, epochs: int) -> Found:
    import paddle

    def batches(split: Images, epoch: int, size: int) -> Any:
        count = len(split[1])
        order = np.random.default_rng(epoch).permutation(count) if epoch else np.arange(count)
        for start in range(0, count, size):
            chosen = order[start : start + size]
            pixels = (split[0][chosen].astype(np.float32) / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
            yield paddle.to_tensor(pixels), paddle.to_tensor(split[1][chosen])

    return by_hand(seed, goal, epochs, batches, tuned=True)


def child(side: str, seed: int, goal: float, epochs: int) -> None:
    from expkit import cpu_tuning
    from expkit.paddle_import import import_paddle

    if side == "minimal":
        cpu_tuning.apply()
    import_paddle()
    run: Callable[[int, float, int], Found] = globals()[side]
    print(json.dumps(run(seed, goal, epochs)))


def measure(side: str, seed: int, goal: float, epochs: int) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        options = ["--accuracy", str(goal), "--epochs", str(epochs), "--seeds", str(seed)]
        command = [sys.executable, str(Path(__file__).absolute()), "--child", side, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        if done.returncode:
            raise SystemExit(f"{side}: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--accuracy", type=float, default=0.99, metavar="A", help="of the validation images")
    parser.add_argument("--epochs", type=int, default=6, help="at most")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (Path(os.environ.get("EXPKIT_DATA_DIR", "nowhere")) / "mnist").is_dir():
        raise SystemExit("This needs the genuine MNIST: set EXPKIT_DATA_DIR to a folder with mnist/*-ubyte.gz.")
    if options.child:
        child(options.child, options.seeds[0], options.accuracy, options.epochs)
        return
    found: dict[str, list[Found]] = {side: [] for side in SIDES}
    for seed in options.seeds:
        for side in random.Random(seed).sample(SIDES, len(SIDES)):
            found[side].append(measure(side, seed, options.accuracy, options.epochs))
    print("| side | processor | of expkit's (seeds) | epochs | valid | test |\n|---|---|---|---|---|---|")
    for side, values in found.items():
        ratios = [one["seconds"] / own["seconds"] for one, own in zip(values, found["expkit"], strict=True)]
        told = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        middle = {key: statistics.median(one[key] for one in values) for key in values[0]}
        missed = sum(one["valid"] < options.accuracy for one in values)
        print(
            f"| {side} | {middle['seconds']:.0f} s{f', {missed} not there' if missed else ''} | {told} | "
            f"{middle['epochs']:g} | {middle['valid']:.2%} | {middle['test']:.2%} |"
        )


if __name__ == "__main__":
    main()
