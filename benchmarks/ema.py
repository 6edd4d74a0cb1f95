"""What averaging the weights (`learner.ema`) costs a training step.

    python benchmarks/ema.py [--rounds 61] [--steps 3]

A round runs some steps without and with the average, in turn, in one process; printed are the medians of the rounds,
and the median of the rounds' differences. Times are the processor's, not the clock's, so that other jobs matter less.
The models are the textbook's CNN and the MLP, with Adam on batches of 64.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from expkit import cpu_tuning, device
from expkit.api import Array, Learner
from expkit.config import compose
from expkit.parts import ConfiguredParts
from expkit.testing import example_specs


def build(model: str, ema: str) -> Learner:
    config = compose(["dataset=digits", f"model={model}", "optimizer=adam", f"learner.ema={ema}"])
    parts = ConfiguredParts(config, example_specs()[0], steps_per_epoch=1, device="cpu")
    learner: Learner = config.learner.build(parts=parts)
    return learner


def seconds(learner: Learner, inputs: Array, targets: Array, steps: int) -> float:
    began = time.process_time()
    for _ in range(steps):
        learner.train_step(inputs, targets)
    return (time.process_time() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    cpu_tuning.tune(True)
    device.select("cpu", 0, 1)
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(64, 1, 28, 28)).astype(np.float32), random.integers(0, 10, 64)
    for model, factor in (("cnn", 1), ("mlp", 10)):
        sides = [build(model, "null"), build(model, "0.999")]
        for side in sides:
            seconds(side, inputs, targets, 5)
        rounds = []
        for number in range(options.rounds):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            found = {side: seconds(sides[side], inputs, targets, options.steps * factor) for side in order}
            rounds.append((found[0] * 1e3, found[1] * 1e3))
        raw, averaged = (statistics.median(side) for side in zip(*rounds, strict=True))
        shares = [100 * (b / a - 1) for a, b in rounds]
        print(
            f"{model}  {raw:.3f} ms a step, with ema {averaged:.3f} ms  "
            f"{statistics.median(shares):+.1f}%  ({min(shares):+.1f} to {max(shares):+.1f})"
        )


if __name__ == "__main__":
    main()
