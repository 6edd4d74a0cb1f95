"""What each thing around a training step costs: progress, metrics, history, tracking, checkpoints, the watch for NaN.

    python benchmarks/overhead.py [--rounds 5] [--cases cnn mlp housing]

`python -m expkit` with all of them taken out is compared with one of them put back, with tracking and checkpoints, and
with everything, as it is by default with a bar on a terminal. Each is a process of its own that trains the same way;
all are there at the same time, and one after another trains a block of steps while the others wait. A block is an
epoch cut short (for housing 100 whole ones, since not all of them wait for the disk): its steps, then what follows its
validation. Then it waits until nothing is done in the background any more, such as sending metrics. From both the cost
of a whole epoch is made up, validation left out: of 782 steps for MNIST, of 41 for housing. Printed are the medians
over the rounds; the percents are the medians of those within a round, by the clock (the training thread's time), and of
processor time (all threads and processes, with what is done in the background).
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from expkit import cpu_tuning
from expkit.paddle_import import import_paddle
from expkit.processes import die_with_parent

ALONE, BOTH, ALL = "nothing", "tracking and checkpoints", "everything"
PARTS = ("progress", "metrics", "history", "tracking", "checkpoints", "watch for NaN")
SIDES = {
    ALONE: (),
    **{part: (part,) for part in PARTS},
    BOTH: ("tracking", "checkpoints"),
    ALL: (*PARTS, "log"),
}
MNIST = ("dataset.batch_size=64", "metrics=[accuracy]")
CASES: dict[str, tuple[str, tuple[str, ...], int, int, int]] = {  # ..., epochs of a block, their steps, those of all
    "cnn": ("the textbook's CNN, batch of 64", ("+experiment=mnist_cnn", *MNIST), 1, 25, 782),
    "mlp": ("MLP 784-256-256-10, batch of 64", ("+experiment=mnist_cnn", "model=mlp", *MNIST), 1, 200, 782),
    "housing": ("housing, 13 -> 1, batch of 10", ("+experiment=housing_linear",), 100, 41, 41),
}
CALLBACKS = {"History": "history", "CheckpointCallback": "checkpoints", "EpochLog": "log"}


def part_of(callback: Any) -> str:
    """Return the part that a callback belongs to."""
    known = type(callback)
    if known.__module__.startswith("expkit.tracking"):
        return "tracking"
    return "progress" if known.__module__ == "expkit.progress" else CALLBACKS.get(known.__name__, "")


class Unwatched:
    """What takes the place of the learner's watch for NaN."""

    def before(self) -> None:
        """Note nothing."""

    def check(self, loss: float, *, gradients: bool = True) -> None:
        """Refuse nothing."""


def warm_up() -> None:
    """Import what runs need, once for all of them."""
    cpu_tuning.tune(True)
    import_paddle()


def spent() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def by_others() -> float:
    """Return the processor time of this process's own, such as the one that sends to MLflow."""
    times = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def child(case: str, side: str, folder: Path, line: Any) -> None:
    """Train blocks as long as somebody wants one; tell of each."""
    from rich.console import Console

    from expkit import experiment
    from expkit.api import Callback
    from expkit.config import compose
    from expkit.trainer import Trainer

    die_with_parent(os.getppid())
    kept, epochs = SIDES[side], CASES[case][2]
    at: dict[str, tuple[float, float]] = {}
    spans = {"step": (0.0, 0.0), "end": (0.0, 0.0)}

    def note(span: str, since: str) -> None:
        now, (clock, processor) = spent(), spans[span]
        spans[span] = clock + now[0] - at[since][0], processor + now[1] - at[since][1]

    class After(Callback):
        """Told first, when the validation of an epoch is done."""

        def on_epoch_end(self, event: Any) -> None:
            at["validated"] = spent()

    class Around(Callback):
        """Told last."""

        def on_epoch_start(self, event: Any) -> None:
            if event.epoch % epochs == 1 % epochs:
                ended = at.get("ended", spent())
                own, others = quiet()
                behind = own - ended[1] + others - at.get("others", (0.0, others))[1]
                line.send({**spans, "behind": behind})
                line.recv()
                spans.update(step=(0.0, 0.0), end=(0.0, 0.0))
                at["others"] = (0.0, by_others())
            at["began"] = spent()

        def on_step_end(self, event: Any) -> None:
            if event.batch == CASES[case][3]:
                note("step", "began")

        def on_epoch_end(self, event: Any) -> None:
            note("end", "validated")
            at["ended"] = spent()

    plain = Trainer.__init__

    def init(self: Any, learner: Any, *arguments: Any, callbacks: Any, **options: Any) -> None:
        chosen = [one for one in callbacks if part_of(one) in ("", *kept)]
        plain(self, learner, *arguments, callbacks=[After(), *chosen], **options)
        self.evaluate = functools.cache(self.evaluate)  # validation is not what is compared
        if "watch for NaN" not in kept:
            learner._watch = Unwatched()
            self._random.note = lambda: None

    Trainer.__init__ = init  # type: ignore[method-assign]
    choices = [*CASES[case][1], f"trainer.limit_train_batches={CASES[case][3]}", "trainer.epochs=100000"]
    choices += [f"tracking={'mlflow' if 'tracking' in kept else 'none'}"]
    choices += [
        f"trainer.progress={'bar' if 'progress' in kept else 'off'}",
        "export=none",
        "plots=none",
        f"runs_dir={folder / 'runs'}",
    ]
    choices += [] if "metrics" in kept else ["metrics=[]"]
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, force_terminal=True, width=120)
        experiment.run(compose(choices), folder / "runs" / "benchmark" / "one", console, further=[Around()])


def quiet() -> tuple[float, float]:
    """Wait until nothing has anything to do; return the processor time until then, of this process and its own."""
    before = (time.process_time(), by_others())
    while True:
        time.sleep(0.05)
        now = (time.process_time(), by_others())
        if sum(now) - sum(before) < 0.002:
            return now
        before = now


class Side:
    """One process, forked from this one, that trains when it is asked to."""

    def __init__(self, case: str, side: str, folder: Path) -> None:
        folder.mkdir()
        context = multiprocessing.get_context("fork")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=child, args=(case, side, folder, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._line.recv()

    def block(self, case: str) -> dict[str, float]:
        """Train a block, and return milliseconds for a step, for an epoch's end, and for a whole epoch."""
        self._line.send(True)
        spans = self._line.recv()
        epochs, steps, whole = CASES[case][2:]
        step = [1000 * value / epochs / steps for value in spans["step"]]
        end = [1000 * value / epochs for value in spans["end"]]
        behind = 1000 * spans["behind"] / epochs / steps
        return {
            "step": step[0],
            "end": end[0],
            "clock": whole * step[0] + end[0],
            "processor": whole * (step[1] + behind) + end[1],
        }

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def percent(own: list[dict[str, float]], base: list[dict[str, float]], key: str) -> str:
    found = [100 * (a[key] / b[key] - 1) for a, b in zip(own, base, strict=True)]
    return f"{statistics.median(found):+.1f}% ({min(found):+.1f} to {max(found):+.1f})"


def compare(case: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        sides = {side: Side(case, side, Path(place) / str(number)) for number, side in enumerate(SIDES)}
        try:
            found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for number in range(rounds + 1):  # the first one warms up
                for name in random.Random(number).sample(list(sides), len(sides)):
                    found[name].append(sides[name].block(case))
        finally:
            for side in sides.values():
                side.close()
    print(
        f"\n{CASES[case][0]}\n\n| with | a step | an epoch's end | an epoch by the clock | of processor |\n"
        + "|---" * 5
        + "|"
    )
    for name, (_, *values) in found.items():
        step, end = (statistics.median(one[key] for one in values) for key in ("step", "end"))
        told = [percent(values, found[ALONE][1:], key) for key in ("clock", "processor")]
        if name == ALONE:
            told = [f"{statistics.median(one[key] for one in values):,.0f} ms" for key in ("clock", "processor")]
        print(f"| {name} | {step:.3f} ms | {end:.1f} ms | {' | '.join(told)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    warm_up()
    for case in options.cases:
        compare(case, options.rounds)


if __name__ == "__main__":
    main()
