"""What a metric point for every training step costs: expkit's tracking against MLflow's own calls.

    python benchmarks/tracking.py [--rounds 15] [--steps 100]

A round is a block of training steps of each side on the same learner and batches, in an order that changes each
time: without tracking; with expkit's tracker, as a run uses it (loss, accuracy and learning rate of each step); with
`mlflow.log_metric` for each value; and with `mlflow.log_metrics` once a step. All three write to fresh SQLite stores.
Printed for each side are the median time of a step by the clock, while expkit's process for MLflow is at work; the
median of the rounds' ratios to the side without tracking; and the processor time that a step takes in all threads and
processes until the last point is stored.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from expkit import cpu_tuning, device
from expkit.api import Classes, DataSource, DataSpec, ImageInput
from expkit.config import compose
from expkit.parts import ConfiguredParts
from expkit.tracking import Courier, StoreSettings, Tracker, open_tracker
from expkit.tracking.store import import_mlflow, sqlite_uri

CASES = {
    "the textbook's CNN, batch 64": ("model=cnn", "optimizer=adam"),
    "MLP 784-256-256-10, batch 64": ("model=mlp", "optimizer=adam"),
}
PLAIN = "without tracking"
Log = Callable[[dict[str, float], int], Any]


def learner_of(choices: tuple[str, ...]) -> Any:
    config = compose(["dataset=digits", "schedule=constant", *choices])
    image, source = ImageInput(28, 28, 1, (0.13,), (0.31,)), DataSource("generated", "")
    spec = DataSpec("benchmark", image, Classes(tuple("0123456789")), source, "")
    return config.learner.build(parts=ConfiguredParts(config, spec, steps_per_epoch=100, device="cpu"))


def sides(folder: Path, courier: Courier) -> tuple[dict[str, Log], Tracker]:
    """Return what each side does after a step, and expkit's tracker."""
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(sqlite_uri(folder / "other.db"))
    mlflow.set_experiment("benchmark")
    mlflow.start_run()
    settings = StoreSettings(None, "benchmark", "run", folder, folder / "mlartifacts")
    tracker = open_tracker(settings, folder / "run", params={}, tags={}, courier=courier)
    made: dict[str, Log] = {
        PLAIN: lambda values, step: None,
        "expkit": tracker.log_metrics,
        "mlflow.log_metric": lambda values, step: [mlflow.log_metric(*pair, step=step) for pair in values.items()],
        "mlflow.log_metrics": lambda values, step: mlflow.log_metrics(values, step=step),
    }
    return made, tracker


def spent() -> float:
    """Return the processor time of this process, and of that which sends to MLflow."""
    times = [one.cpu_times() for one in psutil.Process().children()]
    return time.process_time() + sum(one.user + one.system for one in times)


def block(learner: Any, log: Log, first: int, steps: int, tracker: Tracker | None) -> tuple[float, float]:
    """Return (seconds by the clock, processor seconds of all until all is stored), a step."""
    draw = np.random.default_rng(first)
    batches = [(draw.normal(size=(64, 1, 28, 28)).astype(np.float32), draw.integers(0, 10, 64)) for _ in range(8)]
    clock, processor = time.perf_counter(), spent()
    for step in range(first, first + steps):
        learner.train_step(*batches[step % 8])
        log({"step/loss": 1 / (step + 1), "step/accuracy": 0.5, "step/learning_rate": 0.001}, step)
    took = time.perf_counter() - clock
    while tracker is not None and tracker.is_behind():
        time.sleep(0.01)
    return took / steps, (spent() - processor) / steps


def compare(title: str, choices: tuple[str, ...], rounds: int, steps: int) -> None:
    learner = learner_of(choices)
    with tempfile.TemporaryDirectory() as folder, Courier(None) as courier:
        logs, tracker = sides(Path(folder), courier)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in logs}
        for number in range(-1, rounds):
            turned = [*logs][number % len(logs) :] + [*logs][: number % len(logs)]
            for name in turned:
                own = tracker if name == "expkit" else None
                taken = block(learner, logs[name], (number + 1) * steps, steps, own)
                if number >= 0:
                    times[name].append(taken)
        tracker.finish()
        import_mlflow().end_run()
    for name, took in times.items():
        ratios = [one / base for (one, _), (base, _) in zip(took, times[PLAIN], strict=True)]
        clock, processor = (1000 * statistics.median(values) for values in zip(*took, strict=True))
        print(
            f"{title:30s} {name:18s} {clock:8.3f} ms a step  {100 * (statistics.median(ratios) - 1):+7.2f}%  "
            f"({100 * (min(ratios) - 1):+.1f} to {100 * (max(ratios) - 1):+.1f})   processor {processor:8.3f} ms",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=100, help="of each side in a round")
    options = parser.parse_args()
    cpu_tuning.tune(True)
    device.select("cpu", 0, 1)
    for title, choices in CASES.items():
        compare(title, choices, options.rounds, options.steps)


if __name__ == "__main__":
    main()
