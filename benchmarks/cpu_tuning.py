"""How much the CPU settings and the layer fixes speed up the textbook CNN, against Paddle as it comes.

    python benchmarks/cpu_tuning.py [--rounds 5] [--steps 40]

Each round runs both sides, one after the other, each in a fresh process, since the settings must be there before
Paddle is imported. The work of a step is the same: forward, backward, Adam, on 64 random images. Prints the median
time of a step on each side and the median of the rounds' ratios. `--settings-only` leaves the layer fixes out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

WARM_UP = 10


def child(side: str, steps: int) -> None:
    from expkit import cpu_tuning
    from expkit.paddle_import import hush_import

    hush_import()
    if side != "stock":
        cpu_tuning.apply()
    import numpy as np
    import paddle

    from expkit.config import compose
    from expkit.preparation import prepare

    overrides = [
        "dataset=mnist",
        "model=cnn",
        "metrics=[accuracy]",
        "dataset.download=false",
        "optimizer.fused=false",
    ]
    prepared = prepare(compose([*overrides, f"device.tune={str(side == 'tuned').lower()}", "device=cpu"]))
    random = np.random.default_rng(0)
    images = random.standard_normal((64, 1, 28, 28)).astype(np.float32)
    labels = random.integers(0, 10, 64)
    seconds = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        prepared.learner.train_step(images, labels)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"ms": 1000 * statistics.median(seconds[WARM_UP:]), "paddle": paddle.__version__}))


def measure(side: str, steps: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--child", side, "--steps", str(steps)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--settings-only", action="store_true", help="compare without the layer fixes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps)
        return
    other = "settings" if options.settings_only else "tuned"
    times: dict[str, list[float]] = {"stock": [], other: []}
    for number in range(options.rounds):
        for side, found in times.items():
            found.append(measure(side, options.steps))
        print(f"round {number + 1}: " + "  ".join(f"{side} {found[-1]:.1f} ms" for side, found in times.items()))
    ratios = [a / b for a, b in zip(times["stock"], times[other], strict=True)]
    for side, found in times.items():
        print(f"{side}: median {statistics.median(found):.1f} ms a step")
    print(
        f"stock / {other}: median ratio {statistics.median(ratios):.2f}x  (rounds {min(ratios):.2f}-{max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
