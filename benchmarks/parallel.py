"""What a second device (`trainer.devices=2`) gains on two CPU cores.

    python benchmarks/parallel.py [--rounds 15] [--seconds 1]

A round trains for about a second on one device and for as long on two, in turn; printed are the medians of the rounds,
in time by the clock, and the median of the rounds' gains. Steps are whole ones, with the gathering of batches and
outputs, but without metrics, records and validation. The data is MNIST, or scikit-learn's digits in its place.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

from expkit import parallel
from expkit.api import Array
from expkit.config import compose
from expkit.preparation import Prepared, prepare

CASES = {
    "CNN, batch of 64": ["+experiment=mnist_cnn", "dataset.batch_size=64"],
    "CNN, batch of 256": ["+experiment=mnist_cnn", "dataset.batch_size=256"],
    "MLP, batch of 64": ["+experiment=mnist_mlp", "dataset.batch_size=64"],
    "MLP, batch of 1,024": ["+experiment=mnist_mlp", "dataset.batch_size=1024"],
}


class Side:
    """Trains on one or two devices, as long as it is asked to."""

    def __init__(self, overrides: list[str], devices: int, held: ExitStack) -> None:
        config = compose([*overrides, "dataset.download=false", f"trainer.devices={devices}"])
        team = held.enter_context(parallel.started(config))
        self._prepared = parallel.lead(prepare(config, team=team), team)
        self._batches = batches(self._prepared)

    def step(self) -> None:
        self._prepared.learner.train_step(*next(self._batches))

    def time(self, seconds: float) -> float:
        """Return the time of a step, over whole steps of so many seconds."""
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            self.step()
            steps += 1
        return (time.perf_counter() - began) / steps


def batches(prepared: Prepared) -> Iterator[tuple[Array, Array]]:
    feed = prepared.feed or prepared.batches["train"].epoch
    for epoch in itertools.count(1):
        yield from feed(epoch, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    for name, overrides in CASES.items():
        with ExitStack() as held:
            sides = [Side(overrides, devices, held) for devices in (1, 2)]
            for side in sides:
                for _ in range(5):
                    side.step()
            rounds = []
            for number in range(options.rounds):
                order = (0, 1) if number % 2 == 0 else (1, 0)
                found = {place: sides[place].time(options.seconds) * 1e3 for place in order}
                rounds.append((found[0], found[1]))
        one, two = (statistics.median(side) for side in zip(*rounds, strict=True))
        gains = [a / b for a, b in rounds]
        print(
            f"{name:<20}  one {one:8.2f} ms a step, two {two:8.2f} ms  {statistics.median(gains):.2f}x "
            f"({min(gains):.2f} to {max(gains):.2f})  load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
