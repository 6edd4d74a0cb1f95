"""The program of a process that trains the textbook's CNN on random images: `python -m expkit.doctor.pace`.

It reads a number of steps from each line of its input, and answers with the median time of one, in milliseconds.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

from expkit.paddle_import import hush_import
from expkit.processes import die_with_parent

BATCH = 64


def main(side: str, parent: int) -> None:
    """Train when asked to.

    Args:
        side: "with" the CPU settings, or "without".
        parent: process that asks.
    """
    die_with_parent(parent)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    hush_import()

    import numpy as np

    from expkit.config import compose
    from expkit.preparation import prepare

    tune = f"device.tune={str(side == 'with').lower()}"
    prepared = prepare(compose(["dataset=digits", "model=cnn", "device=cpu", tune]))
    random = np.random.default_rng(0)
    images = random.standard_normal((BATCH, *prepared.data.spec.input_shape)).astype(np.float32)
    labels = random.integers(0, prepared.data.spec.outputs, BATCH)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            prepared.learner.train_step(images, labels)
            seconds.append(time.perf_counter() - began)
        answers.write(json.dumps(1000 * statistics.median(seconds)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
