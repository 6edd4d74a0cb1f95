"""What `device.engine=onednn` gains on the textbook CNN, against stock Paddle and against expkit's tuned layers.

    python benchmarks/engine.py [--rounds 5] [--steps 40] [--batch 64]

    stock    device.tune=false: Paddle as it comes
    tuned    device.tune=true, the default
    onednn   the same with device.engine=onednn

A round runs each side once in a fresh process, in an order that changes each time. The work of a step is the same:
forward, backward, Adam, on random images. One thread each, so that the processor's time is taken, which other jobs on
the machine change less than the clock's. Printed are the medians over the rounds, the median of the rounds' ratios,
and how much memory a side's process took at most.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time

WARM_UP = 10
SIDES = {
    "stock": ["device.tune=false"],
    "tuned": ["device.tune=true"],
    "onednn": ["device.tune=true", "device.engine=onednn"],
}


def child(side: str, steps: int, size: int) -> None:
    from expkit import cpu_tuning
    from expkit.paddle_import import import_paddle

    if side != "stock":
        cpu_tuning.apply()
    import_paddle()
    import numpy as np

    from expkit.config import compose
    from expkit.preparation import prepare

    overrides = ["dataset=mnist", "model=cnn", "metrics=[accuracy]", "dataset.download=false", "device=cpu"]
    learner = prepare(compose([*overrides, *SIDES[side]])).learner
    draw = np.random.default_rng(0)
    images, labels = draw.standard_normal((size, 1, 28, 28)).astype(np.float32), draw.integers(0, 10, size)
    seconds = []
    for _ in range(WARM_UP + steps):
        began = time.process_time()
        learner.train_step(images, labels)
        seconds.append(time.process_time() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ms": 1000 * statistics.median(seconds[WARM_UP:]), "mb": memory}))


def measure(side: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", side, "--steps", str(options.steps), "--batch", str(options.batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps, options.batch)
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for number in range(options.rounds):
        for side in random.Random(number).sample(list(SIDES), len(SIDES)):
            found[side].append(measure(side, options))
    print(f"the textbook's CNN, batch of {options.batch}, {options.rounds} rounds")
    for side, rounds in found.items():
        gains = [stock["ms"] / own["ms"] for own, stock in zip(rounds, found["stock"], strict=True)]
        told = f"{statistics.median(gains):.2f}x ({min(gains):.2f} to {max(gains):.2f})"
        memory = statistics.median(one["mb"] for one in rounds)
        print(f"  {side:<7} {statistics.median(one['ms'] for one in rounds):8.2f} ms a step  {told}  {memory:.0f} MB")


if __name__ == "__main__":
    main()
