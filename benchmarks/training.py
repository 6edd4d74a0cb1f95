"""A training step in expkit against the same model in scripts written by hand.

    python benchmarks/training.py [--rounds 5] [--steps 150] [--cases cnn mlp housing] [--sides ...] [--torch-python P]

    expkit      `python -m expkit` with everything on: progress, metrics, tracking (SQLite), checkpoints
    textbook    the book's script: Dataset and DataLoader item by item, Paddle as it comes
    minimal     a careful user's loop: data in memory, batches gathered whole, and nothing else; with expkit's settings
                of the process and its layer fixes, which such a user would have to know
    fit         `paddle.Model.fit` on the book's Dataset
    pytorch     the minimal loop in PyTorch, where that is installed: here, or for the Python that --torch-python names

A round starts each side once in a process of its own, in an order that changes each time. Every side trains on
batches of the same data and notes when each step ends, data included; a side's figure is the median between two of
these, after a warm-up, by the clock and in processor time of the process with all its threads, which suffers less where
others are at work. Printed are the medians over the rounds, and the median of the rounds' ratios to expkit. One thread
each. A side also says what it trains, and one that trains something else than expkit ends the comparison.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

CASES = {
    "cnn": "the textbook's CNN, batch of 64",
    "mlp": "MLP 784-256-256-10, batch of 64",
    "housing": "housing, 13 -> 1, batch of 10",
}
OVERRIDES = {
    "cnn": ("+experiment=mnist_cnn", "dataset.batch_size=64"),
    "mlp": ("+experiment=mnist_cnn", "model=mlp", "dataset.batch_size=64"),
    "housing": ("+experiment=housing_linear",),
}
SIDES = ("expkit", "textbook", "minimal", "fit", "pytorch")
WARM_UP = 20
Ticks = list[tuple[float, float]]
"""When a step ended: by the clock, and of the process's processor time."""
work: dict[str, Any] = {}
"""What this process trains; filled by its side."""


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def data_of(case: str) -> tuple[Any, Any, int]:
    """Return inputs as a script reads them, targets, and the size of a batch; noise where no files are."""
    draw = np.random.default_rng(0)
    folder = Path(os.environ.get("EXPKIT_DATA_DIR", "nowhere"))
    if case == "housing":
        inputs = draw.normal(size=(404, 13)).astype(np.float32)
        return inputs, (inputs @ draw.normal(size=(13, 1)) + 1).astype(np.float32), 10
    if (folder / "mnist").is_dir():
        pixels = read_idx(folder / "mnist" / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        numbers = read_idx(folder / "mnist" / "train-labels-idx1-ubyte.gz", 8)
    else:
        pixels, numbers = draw.integers(0, 256, (50_000, 28, 28), dtype=np.uint8), draw.integers(0, 10, 50_000)
    return pixels[:50_000], numbers[:50_000].astype(np.int64), 64


def read_idx(file: Path, head: int) -> Any:
    with gzip.open(file) as packed:
        return np.frombuffer(packed.read(), np.uint8, offset=head)


def note(model: Any, optimizer: Any, inputs: Any, targets: Any) -> None:
    """Note what is trained on a batch, in words that are the same for all sides."""
    if not work:
        sizes = sorted(int(np.prod(tuple(one.shape))) for one in model.parameters())
        shapes = (tuple(inputs.shape), len(targets))
        work.update(batch=str(shapes), parameters=str(sizes), optimizer=type(optimizer).__name__)


def expkit(case: str, steps: int) -> Ticks:
    from rich.console import Console

    from expkit import experiment
    from expkit.api import Callback, TrainingStoppedError
    from expkit.config import compose

    ticks: Ticks = []

    class Watch(Callback):
        def on_fit_start(self, event: Any) -> None:
            note(event.learner.model, event.learner._optimizer, *next(iter(event.train.epoch(1, 0))))

        def on_step_end(self, event: Any) -> None:
            ticks.append(now())
            if len(ticks) == steps:
                raise TrainingStoppedError("enough")

    config = compose([*OVERRIDES[case], "trainer.epochs=100", "device.threads=1", "trainer.progress=plain"])
    with Path(os.devnull).open("w") as nowhere:
        try:
            experiment.run(config, Path("runs/benchmark/one"), Console(file=nowhere), further=[Watch()])
        except TrainingStoppedError:
            return ticks
    return ticks


def gathered(case: str) -> Iterator[tuple[Any, Any]]:
    """Yield batches for ever, gathered whole from memory and normalised."""
    inputs, targets, size = data_of(case)
    draw = np.random.default_rng(1)
    while True:
        order = draw.permutation(len(inputs))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            batch = inputs[chosen].astype(np.float32)
            if case != "housing":
                batch = (batch[:, None] / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
            yield batch, targets[chosen]


def paddle_parts(case: str) -> tuple[Any, Any, Any]:
    import paddle
    from paddle import nn

    layers = {
        "cnn": lambda: [
            *(nn.Conv2D(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2)),
            *(nn.Conv2D(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Linear(980, 10)),
        ],
        "mlp": lambda: [
            *(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)),
        ],
        "housing": lambda: [nn.Linear(13, 1)],
    }
    model = nn.Sequential(*layers[case]())
    if case == "housing":
        return model, nn.MSELoss(), paddle.optimizer.SGD(0.01, parameters=model.parameters())
    return model, nn.CrossEntropyLoss(), paddle.optimizer.Adam(0.001, parameters=model.parameters())


def item_dataset(case: str) -> Any:
    import paddle

    inputs, targets, _ = data_of(case)

    class Items(paddle.io.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(inputs)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            if case == "housing":
                return inputs[index], targets[index]
            image = inputs[index].astype("float32").reshape(1, 28, 28) / 255.0
            return (image - np.float32(0.1307)) / np.float32(0.3081), np.array([targets[index]], dtype="int64")

    return Items()


def textbook(case: str, steps: int) -> Ticks:
    import paddle

    model, loss, optimizer = paddle_parts(case)
    loader = paddle.io.DataLoader(item_dataset(case), batch_size=data_of(case)[2], shuffle=True, drop_last=True)
    ticks: Ticks = []
    while True:
        for inputs, targets in loader:
            note(model, optimizer, inputs, targets)
            value = loss(model(inputs), targets)
            value.backward()
            optimizer.step()
            optimizer.clear_grad()
            ticks.append(now())
            if len(ticks) == steps:
                return ticks


def minimal(case: str, steps: int) -> Ticks:
    import paddle

    from expkit_learners.fast_layers import speed_up

    model, loss, optimizer = paddle_parts(case)
    speed_up(model)
    ticks: Ticks = []
    for inputs, targets in gathered(case):
        note(model, optimizer, inputs, targets)
        value = loss(model(paddle.to_tensor(inputs)), paddle.to_tensor(targets))
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
        float(value)
        ticks.append(now())
        if len(ticks) == steps:
            break
    return ticks


def fit(case: str, steps: int) -> Ticks:
    import paddle

    network, loss, optimizer = paddle_parts(case)
    ticks: Ticks = []

    class Watch(paddle.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            ticks.append(now())

    note(network, optimizer, *next(gathered(case)))
    model = paddle.Model(network)
    model.prepare(optimizer, loss, None if case == "housing" else paddle.metric.Accuracy())
    size = data_of(case)[2]
    model.fit(
        item_dataset(case),
        batch_size=size,
        epochs=100,
        num_iters=steps,
        shuffle=True,
        drop_last=True,
        verbose=0,
        callbacks=[Watch()],
    )
    return ticks


def pytorch(case: str, steps: int) -> Ticks:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    layers = {
        "cnn": lambda: [
            *(nn.Conv2d(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(980, 10)),
        ],
        "mlp": lambda: [
            *(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)),
        ],
        "housing": lambda: [nn.Linear(13, 1)],
    }
    model = nn.Sequential(*layers[case]())
    loss = nn.MSELoss() if case == "housing" else nn.CrossEntropyLoss()
    kind = torch.optim.SGD if case == "housing" else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=0.01 if case == "housing" else 0.001)
    ticks: Ticks = []
    for inputs, targets in gathered(case):
        note(model, optimizer, inputs, targets)
        value = loss(model(torch.from_numpy(inputs)), torch.from_numpy(targets))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        float(value)
        ticks.append(now())
        if len(ticks) == steps:
            break
    return ticks


def child(side: str, case: str, steps: int) -> None:
    if side != "pytorch":  # whose Python may have neither
        from expkit import cpu_tuning
        from expkit.paddle_import import import_paddle

        if side == "minimal":
            cpu_tuning.apply()
        import_paddle()
    run: Callable[[str, int], Ticks] = globals()[side]
    ticks = run(case, steps)
    gaps = list(itertools.pairwise(ticks))[WARM_UP:]
    clock, processor = (1000 * statistics.median(b[kind] - a[kind] for a, b in gaps) for kind in (0, 1))
    print(json.dumps({"clock": clock, "processor": processor, "work": work}))


def measure(python: str, side: str, case: str, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [python, str(Path(__file__).absolute()), "--child", side, case, "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        if done.returncode:
            raise SystemExit(f"{side}, {case}: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(case: str, pythons: dict[str, str], rounds: int, steps: int) -> None:
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in pythons}
    for number in range(rounds):
        for side in random.Random(number).sample(list(pythons), len(pythons)):
            found[side].append(measure(pythons[side], side, case, steps))
    kinds = {side: values[0]["work"] for side, values in found.items()}
    if any(kind != kinds["expkit"] for kind in kinds.values()):
        raise SystemExit(f"{case}: the sides do not train the same\n{json.dumps(kinds, indent=1)}")
    print(f"\n{CASES[case]}\n\n| side | ms a step | of expkit's (rounds) | of processor | of expkit's (rounds) |")
    print("|---|---|---|---|---|")
    for side, values in found.items():
        told = [column(values, found["expkit"], kind) for kind in ("clock", "processor")]
        print(f"| {side} | {' | '.join(told)} |", flush=True)


def column(values: list[dict[str, Any]], own: list[dict[str, Any]], kind: str) -> str:
    times = [one[kind] for one in values]
    ratios = [time / other[kind] for time, other in zip(times, own, strict=True)]
    return f"{statistics.median(times):.3f} | {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--torch-python", metavar="P", help="a Python that has PyTorch, where this one has not")
    parser.add_argument("--child", nargs=2, metavar=("SIDE", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.steps)
        return
    pythons = dict.fromkeys(dict.fromkeys(("expkit", *options.sides)), sys.executable)
    if options.torch_python and "pytorch" in pythons:
        pythons["pytorch"] = str(Path(options.torch_python).absolute())
    elif not find_spec("torch"):
        pythons.pop("pytorch", None)
    for case in options.cases:
        compare(case, pythons, options.rounds, options.steps)


if __name__ == "__main__":
    main()
