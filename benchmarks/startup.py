"""What a command costs before it does what it was called for, beside the imports that it cannot do without.

    python benchmarks/startup.py [--rounds 7]

    --help, list, show, --cfg job     until the command has ended
    first step                        `python -m expkit +experiment=mnist_cnn` until its first training step is done, in
                                      a folder with runs of before
    first step ever                   the same in an empty folder, where MLflow makes the tables of a new store first
    import paddle, import mlflow      a Python that does only that
    imports and data                  both, and reading MNIST by the same plugin: what no script can avoid

A round runs each once, in an order that changes each time, in an empty folder but for "first step". Printed are the
medians of the time by the clock and of processor time, the median of the rounds' ratios of the two to "imports and
data", and whether a command imported Paddle or MLflow.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

EXPKIT = [sys.executable, "-m", "expkit"]
OTHERS = "processor of its processes:"
FIRST_STEP = f"""
import os, psutil
from expkit.trainer import Trainer
plain = Trainer._step
def step(self, *batch):
    plain(self, *batch)
    used = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    os.write(1, f"{OTHERS} {{sum(one.user + one.system for one in used)}}\\n".encode())
    os._exit(0)
Trainer._step = step
from expkit.cli import main
main(["+experiment=mnist_cnn", "trainer.progress=off"])
"""
DATA = "from expkit.config import compose; compose(['dataset=mnist', 'model=mlp']).dataset.build()"
SIDES = {
    "python": [sys.executable, "-c", "pass"],
    "--help": [*EXPKIT, "--help"],
    "list": [*EXPKIT, "list"],
    "show model/cnn": [*EXPKIT, "show", "model/cnn"],
    "--cfg job": [*EXPKIT, "+experiment=mnist_cnn", "--cfg", "job"],
    "import paddle": [sys.executable, "-c", "import paddle"],
    "import mlflow": [sys.executable, "-c", "import mlflow"],
    "imports and data": [sys.executable, "-c", f"import paddle, mlflow; {DATA}"],
    "first step": [sys.executable, "-c", FIRST_STEP],
    "first step ever": [sys.executable, "-c", FIRST_STEP],
}


def run(command: list[str], used: str | None = None) -> tuple[float, float]:
    """Return seconds by the clock, and of processor time with that of all its children.

    Args:
        command: to run.
        used: the folder to run it in; an empty one by default.
    """
    with tempfile.TemporaryDirectory() as empty:
        folder = used or empty
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr[-1500:]}")
    others = sum(float(line.removeprefix(OTHERS)) for line in done.stdout.splitlines() if line.startswith(OTHERS))
    return took, others + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(command: list[str]) -> str:
    """Say which of the slow packages a command imports."""
    if command[:3] != EXPKIT:
        return ""
    traced = [sys.executable, "-X", "importtime", *command[1:]]
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(traced, cwd=folder, capture_output=True, text=True, check=False).stderr
    names = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    return ", ".join(sorted({"paddle", "mlflow", "pandas", "matplotlib"} & names)) or "neither Paddle nor MLflow"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ["EXPKIT_CACHE_DIR"] = tempfile.gettempdir()
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as used:
        for number in range(options.rounds + 1):  # the first fills the system's cache of files
            for side in random.Random(number).sample(list(SIDES), len(SIDES)):
                found[side].append(run(SIDES[side], used if side == "first step" else None))
    for side, times in found.items():
        clock, processor = (statistics.median(values) for values in zip(*times[1:], strict=True))
        print(f"{side:<17} {clock:6.2f} s by the clock  {processor:6.2f} s of processor  {imports(SIDES[side])}")
    for side in ("first step", "first step ever"):
        pairs = zip(found[side][1:], found["imports and data"][1:], strict=True)
        ratios = [(own[0] / other[0], own[1] / other[1]) for own, other in pairs]
        clock, processor = (statistics.median(values) for values in zip(*ratios, strict=True))
        print(f"{side} / imports and data: {clock:.2f}x by the clock, {processor:.2f}x of processor time")


if __name__ == "__main__":
    main()
