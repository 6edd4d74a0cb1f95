"""What a sweep costs beside its training: expkit's launcher against Hydra's basic and joblib launchers.

    pip install hydra-joblib-launcher
    python benchmarks/sweeps.py [--jobs 8 50] [--rounds 3] [--steps 200]

Each round starts the same sweep once with every launcher, in an order that changes from round to round, each as a
command of its own in an empty folder; printed are the medians of their wall times, from the start of the command to its
end, and the medians of the ratios within a round. A job trains a small MLP on digits for some steps, without tracking,
export and plots, so that what is measured is what surrounds the training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT = (
    *("+experiment=mnist_cnn", "model=mlp", "dataset.download=false", "dataset.limit=640", "trainer.epochs=1"),
    *("tracking=none", "export=none", "plots=none", "trainer.progress=off"),
)
BASIC = "basic"


def launchers(places: int) -> dict[str, tuple[str, ...]]:
    """Return the overrides that choose each launcher."""
    return {
        "expkit": (f"sweep.jobs={places}",),
        BASIC: ("hydra/launcher=basic",),
        "joblib": ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={places}"),
    }


def seconds(chosen: tuple[str, ...], jobs: int, steps: int) -> float:
    """Return how long a sweep over seeds takes; it has to succeed."""
    seeds = ",".join(map(str, range(jobs)))
    command = [sys.executable, "-m", "expkit", "-m", *SHORT, f"seed={seeds}", f"dataset.repeat={steps // 20}", *chosen]
    environment = {key: value for key, value in os.environ.items() if key != "EXPKIT_DATA_DIR"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        took = time.perf_counter() - began
        finished = sum('"FINISHED"' in record.read_text() for record in Path(folder).glob("runs/*/*/*/run.json"))
    if done.returncode or finished != jobs:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}, {finished} runs finished\n{done.stderr}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[8, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of training in each job")
    options = parser.parse_args()
    chosen = launchers(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for jobs in options.jobs:
        times: dict[str, list[float]] = {name: [] for name in chosen}
        for number in range(options.rounds):
            turned = [*chosen][number % len(chosen) :] + [*chosen][: number % len(chosen)]
            for name in turned:
                times[name].append(seconds(chosen[name], jobs, options.steps))
        for name, took in times.items():
            ratios = [one / base for one, base in zip(took, times[BASIC], strict=True)]
            print(
                f"{jobs} jobs  {name:<7} {statistics.median(took):6.1f} s  {statistics.median(ratios):.2f} of {BASIC} "
                f"({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
