"""What it costs to see within each step that loss and gradients are finite, and to be able to undo the step.

    python benchmarks/nonfinite.py [--rounds 200]

A round is one step of each of two learners on the same batch: one as it is, with the note of the random generators that
the trainer takes; and one with the learner's watch taken out, and without the note. In every other round the order is
turned round. Times are those of the processor, so that other jobs on the machine, for which a step waits, do not count.
Printed are the medians, the median of the rounds' differences in percent, and its 95% interval by resampling rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from expkit import cpu_tuning, device
from expkit.api import Array, Classes, DataSource, DataSpec, ImageInput
from expkit.config import compose
from expkit.parts import ConfiguredParts
from expkit.seeding import StepRandom

WARM_UP = 5
CASES = {
    "CNN (the textbook's), Adam, batch 64": ("model=cnn", "optimizer=adam"),
    "CNN, SGD, batch 64": ("model=cnn", "optimizer=sgd"),
    "MLP 784-256-256-10, Adam, batch 64": ("model=mlp", "optimizer=adam"),
}


class Unwatched:
    """What takes the place of the learner's watch."""

    def before(self) -> None:
        """Note nothing."""

    def check(self, loss: float, *, gradients: bool = True) -> None:
        """Refuse nothing."""


def learner_of(choices: tuple[str, ...], *, watched: bool) -> Any:
    config = compose(["dataset=digits", "schedule=constant", *choices])
    spec = DataSpec(
        "benchmark",
        ImageInput(28, 28, 1, (0.13,), (0.31,)),
        Classes(tuple("0123456789")),
        DataSource("generated", ""),
        "",
    )
    made = config.learner.build(parts=ConfiguredParts(config, spec, steps_per_epoch=100, device="cpu"))
    if not watched:
        made._watch = Unwatched()
    return made


def seconds(learner: Any, random: StepRandom | None, inputs: Array, targets: Array) -> float:
    began = time.process_time()
    if random is not None:
        random.note()
    learner.train_step(inputs, targets)
    return time.process_time() - began


def compare(title: str, choices: tuple[str, ...], rounds: int) -> None:
    draw = np.random.default_rng(0)
    sides = {
        True: (learner_of(choices, watched=True), StepRandom()),
        False: (learner_of(choices, watched=False), None),
    }
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(-WARM_UP, rounds):
        inputs, targets = draw.normal(size=(64, 1, 28, 28)).astype(np.float32), draw.integers(0, 10, 64)
        for watched in (True, False) if number % 2 else (False, True):
            taken = seconds(*sides[watched], inputs, targets)
            if number >= 0:
                times[watched].append(taken)
    percent = [100 * (a / b - 1) for a, b in zip(times[True], times[False], strict=True)]
    resampled = [statistics.median(draw.choice(percent, len(percent))) for _ in range(2000)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    with_it, without = (1000 * statistics.median(times[side]) for side in (True, False))
    print(
        f"{title:38s} {without:7.3f} -> {with_it:7.3f} ms a step   {statistics.median(percent):+5.2f}%  "
        f"({low:+.2f} to {high:+.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    cpu_tuning.tune(True)
    device.select("cpu", 0, 1)
    for title, choices in CASES.items():
        compare(title, choices, options.rounds)


if __name__ == "__main__":
    main()
