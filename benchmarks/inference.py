"""What an answer costs: the model in memory (eager), and its exports by each of their runtimes.

    python benchmarks/inference.py [--rounds 15] [--threads 1] [--cases cnn mlp]

A model is trained for a few steps on handwritten digits and exported in every format, each of which has to pass its
certificate. A round asks each side for one batch of each size, in an order that changes each time. Printed are the
median milliseconds of a call, the median of the rounds' ratios to eager, and what the certificates say.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

CASES = {"cnn": "the textbook's CNN", "mlp": "MLP 784-256-256-10"}
FORMATS = ["paddle", "onnx", "paddle-int8", "onnx-int8"]
SIZES = (1, 32, 256)
Network = Callable[[Any], Any]


def exported(model: str, folder: Path) -> tuple[Any, Any, Any]:
    """Return a learner, inputs, and the exports of its model."""
    from expkit.config import compose
    from expkit.export import Exporter
    from expkit.preparation import prepare
    from expkit.settings import ExportSettings

    config = compose(["dataset=digits", f"model={model}", "metrics=[accuracy]", "dataset.batch_size=32"])
    prepared = prepare(config)
    for epoch in (1, 2, 3):
        for batch in prepared.batches["train"].epoch(epoch):
            prepared.learner.train_step(*batch)
    settings = ExportSettings(formats=FORMATS, max_accuracy_loss=0.05)
    with Exporter(settings) as exporter:
        found = exporter.export(prepared.learner, prepared.data, folder, {})
    raw, _ = prepared.data.train.gather(np.arange(max(SIZES)))
    return prepared.learner, prepared.data.spec.input.normalise(raw), found


def sides(learner: Any, folder: Path, found: Any) -> Iterator[tuple[str, Network]]:
    from expkit import standalone

    yield "eager", learner.predict
    for name, certificate in found.certificates.items():
        for runtime in certificate.runtimes:
            if not certificate.runtimes[runtime].error:
                yield f"{name}, {runtime}", standalone.connect(folder / name, runtime)


def compare(title: str, model: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        learner, inputs, found = exported(model, Path(place))
        networks = dict(sides(learner, Path(place), found))
        taken: dict[tuple[str, int], list[float]] = {(name, size): [] for name in networks for size in SIZES}
        order = list(networks)
        for number in range(rounds + 3):  # the first three warm up
            random.Random(number).shuffle(order)
            for name in order:
                for size in SIZES:
                    batch = np.ascontiguousarray(inputs[:size])
                    began = time.perf_counter()
                    networks[name](batch)
                    taken[name, size].append(1000 * (time.perf_counter() - began))
        show(title, {key: values[3:] for key, values in taken.items()}, found)


def show(title: str, taken: dict[tuple[str, int], list[float]], found: Any) -> None:
    print(f"\n{title}: milliseconds of a call, and times as fast as eager (quartiles of the rounds)")
    for name in dict.fromkeys(name for name, _ in taken):
        cells = []
        for size in SIZES:
            ratios = [a / b for a, b in zip(taken["eager", size], taken[name, size], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            middle = statistics.median(ratios)
            cells.append(f"{statistics.median(taken[name, size]):9.3f} {middle:6.2f}x ({low:.2f} to {high:.2f})")
        print(f"{name:<26}" + "  ".join(cells))
    for name, certificate in found.certificates.items():
        print(f"{name}: {certificate}; fastest by its certificate: {certificate.runtime}")
    for name, error in found.refused.items():
        print(f"{name}: refused: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of each runtime (default: 1)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before Paddle is imported
    from expkit import cpu_tuning, device

    print(f"tuning {cpu_tuning.tune(True)}, {options.threads} thread(s), {options.rounds} rounds")
    device.select("cpu", 0, options.threads)
    for name in options.cases:
        compare(CASES[name], name, options.rounds)


if __name__ == "__main__":
    main()
