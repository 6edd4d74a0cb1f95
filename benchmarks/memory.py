"""Memory at its peak: MNIST trained by expkit and by a bare loop written by hand.

    python benchmarks/memory.py [--rounds 1] [--steps 50]

    bare           Paddle, data in memory as bytes, batches of 64 gathered whole, also in validation and test
    bare, 1000     the same, but validation and test in batches of 1,000
    bare, MLflow   the same as bare, and the loss of each step to MLflow (SQLite), in the same process
    expkit         everything on: tracking (SQLite), checkpoints, plots, export
    the others     expkit without some of that

Both train the textbook's CNN for some steps of two epochs, measure 10,000 samples after each, and another 10,000 at
the end. A process of its own for each; its peak is VmHWM, the most physical memory that it had at any time. That of the
process in which expkit has MLflow stands in a column of its own; the one that checks the export is not counted. Printed
are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 2
BARE = "bare"
SMALL = ("tracking=none", "plots=none", "export=none")
SIDES: dict[str, tuple[str, ...]] = {
    BARE: (),
    "bare, 1000": (),
    "bare, MLflow": (),
    "expkit": (),
    "expkit, tracking=none": ("tracking=none",),
    "expkit, export=none plots=none": SMALL[1:],
    "expkit, none of the three": SMALL,
    "the same, trainer.eval_batch_size=64": (*SMALL, "trainer.eval_batch_size=64"),
}


def images(name: str, count: int) -> tuple[Any, Any]:
    folder = Path(os.environ.get("EXPKIT_DATA_DIR", "nowhere")) / "mnist"
    if not folder.is_dir():
        draw = np.random.default_rng(0)
        return draw.integers(0, 256, (count, 784), dtype=np.uint8), draw.integers(0, 10, count)
    found = []
    for what, head in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(folder / f"{name}-{what}-ubyte.gz") as packed:
            found.append(np.frombuffer(packed.read(), np.uint8, offset=head))
    return found[0].reshape(-1, 784), found[1].astype(np.int64)


def bare(steps: int, size: int, *, tracked: bool) -> None:
    import paddle
    from paddle import nn

    log = to_mlflow() if tracked else lambda value, step: None

    paddle.base.core.set_num_threads(1)
    pixels, numbers = images("train", 60_000)
    test = images("t10k", 10_000)
    train, valid = (pixels[:50_000], numbers[:50_000]), (pixels[50_000:], numbers[50_000:])
    model = nn.Sequential(
        *(nn.Conv2D(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2)),
        *(nn.Conv2D(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Linear(980, 10)),
    )
    loss, optimizer = nn.CrossEntropyLoss(), paddle.optimizer.Adam(0.001, parameters=model.parameters())

    def batch(data: tuple[Any, Any], chosen: Any) -> tuple[Any, Any]:
        inputs = (data[0][chosen].astype(np.float32) / 255 - 0.1307) / 0.3081
        return paddle.to_tensor(inputs.reshape(-1, 1, 28, 28)), paddle.to_tensor(data[1][chosen])

    def accuracy(data: tuple[Any, Any]) -> float:
        right = 0
        model.eval()
        with paddle.no_grad():
            for start in range(0, len(data[0]), size):
                inputs, targets = batch(data, slice(start, start + size))
                right += int((model(inputs).argmax(1) == targets).sum())
        return right / len(data[0])

    for epoch in range(EPOCHS):
        model.train()
        order = np.random.default_rng(epoch).permutation(50_000)
        for step, start in enumerate(range(0, 64 * steps, 64), epoch * steps):
            inputs, targets = batch(train, order[start : start + 64])
            value = loss(model(inputs), targets)
            value.backward()
            optimizer.step()
            optimizer.clear_grad()
            log(float(value), step)
        accuracy(valid)
    accuracy(test)


def to_mlflow() -> Callable[[float, int], None]:
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.start_run()
    return lambda value, step: mlflow.log_metric("loss", value, step=step)


def high_water(pid: int | str = "self") -> float:
    """Return the most physical memory that a process ever had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def expkit(steps: int, choices: tuple[str, ...]) -> list[float]:
    """Train; returns the peak of the process that has MLflow, if there is one."""
    from rich.console import Console

    from expkit import experiment
    from expkit.config import compose
    from expkit.tracking import Courier

    peaks: list[float] = []
    plain = Courier.__exit__

    def leave(self: Courier, *error: object) -> None:
        peaks.append(high_water(self._popen.pid))
        plain(self, *error)

    Courier.__exit__ = leave  # type: ignore[method-assign]

    fixed = ("+experiment=mnist_cnn", "dataset.batch_size=64", f"trainer.epochs={EPOCHS}")
    with Path(os.devnull).open("w") as nowhere:
        config = compose([*fixed, f"trainer.limit_train_batches={steps}", *choices])
        experiment.run(config, Path("runs/benchmark/one"), Console(file=nowhere))
    return peaks


def child(side: str, steps: int) -> None:
    others: list[float] = []
    if side.startswith(BARE):
        bare(steps, 1000 if side == "bare, 1000" else 64, tracked=side == "bare, MLflow")
    else:
        others = expkit(steps, SIDES[side])
    print(high_water(), sum(others))


def measure(side: str, steps: int) -> tuple[float, float]:
    """Return the peak in MB, and that of the process that has MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).absolute()), "--child", side, "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise SystemExit(f"{side}: {done.stderr[-2000:]}")
        own, others = done.stdout.splitlines()[-1].split()
        return float(own), float(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="of each of two epochs")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps)
        return
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for number in range(options.rounds):
        for side in random.Random(number).sample(list(SIDES), len(SIDES)):
            found[side].append(measure(side, options.steps))
    print("| side | peak | above the bare loop | MLflow's process |\n|---|---|---|---|")
    base = statistics.median(own for own, _ in found[BARE])
    for side, peaks in found.items():
        own, others = (statistics.median(values) for values in zip(*peaks, strict=True))
        beside = f"{others:,.0f} MB" if others else ""
        print(f"| {side} | {own:,.0f} MB | {own - base:+,.0f} MB | {beside} |")


if __name__ == "__main__":
    main()
