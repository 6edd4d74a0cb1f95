"""How cost grows: with samples, parameters, points logged, runs in the store, jobs in a sweep.

    python benchmarks/growth.py [--cases ...] [--repeats 2] [--most N]     measure, into benchmarks/growth.json
    python benchmarks/growth.py --draw                                     draw docs/images/growth-*.png from it

Each size is measured in a process of its own, `repeats` times; of each value the smallest is kept, for what else runs
on a machine only adds. Sizes that a case was not measured at stay as they are in the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from growth_cases import CASES

RESULTS = Path(__file__).with_name("growth.json")
IMAGES = Path(__file__).parents[1] / "docs" / "images"
TITLES = {
    "samples": "samples in the data set",
    "parameters": "parameters of the model",
    "points": "points logged by a run",
    "runs": "runs in the store",
    "jobs": "jobs in a sweep",
}


def measure(case: str, size: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).absolute()), "--child", case, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case}, {size}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.is_file() else {}


def measure_all(cases: list[str], repeats: int, most: int) -> None:
    for case in cases:
        for size in (size for size in CASES[case][1] if size <= most):
            found = [measure(case, size) for _ in range(repeats)]
            least = {name: round(min(one[name] for one in found), 4) for name in found[0]}
            results = read()
            results.setdefault(case, {})[str(size)] = least
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{size:>12,} {TITLES[case]}: " + ", ".join(f"{n} {v:g}" for n, v in least.items()), flush=True)


def short(size: int) -> str:
    """Write a size as "64", "10k" or "1M"."""
    return f"{size // 10**6}M" if size >= 10**6 else f"{size // 1000}k" if size >= 1000 else str(size)


def draw(case: str, measured: dict[str, dict[str, float]]) -> None:
    """Draw what was measured over its size, on logarithmic scales: a line for each value, a panel for each unit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    sizes = sorted(map(int, measured))
    panels: dict[str, list[str]] = {}
    for name in measured[str(sizes[0])]:
        panels.setdefault(name.rpartition(" ")[2], []).append(name)
    figure = Figure(figsize=(5 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (unit, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name in names:
            values = [measured[str(size)][name] for size in sizes]
            axes.plot(sizes, values, marker="o", label=name.rpartition(" ")[0])
        axes.set(xscale="log", yscale="log", xlabel=TITLES[case], ylabel={"us": "microseconds"}.get(unit, unit))
        low, high = axes.get_ylim()
        if high / low < 100:  # what hardly grows looks so
            axes.set_ylim(low / 3, high * 3)
        axes.set_xticks(sizes, labels=[short(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(IMAGES / f"growth-{case}.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--most", type=int, default=10**9, metavar="N", help="leave out sizes above that")
    parser.add_argument("--draw", action="store_true", help="draw the pictures")
    parser.add_argument("--child", nargs=2, metavar=("CASE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        case, size = options.child
        print(json.dumps(CASES[case][0](int(size))))
    elif options.draw:
        for case, measured in read().items():
            draw(case, measured)
    else:
        measure_all(options.cases, options.repeats, options.most)


if __name__ == "__main__":
    main()
