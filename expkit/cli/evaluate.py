"""`python -m expkit evaluate RUN`: measures a run's weights again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from expkit.evaluation import SPLITS, Evaluation, evaluate
from expkit.report import quote_path
from expkit.runs import find_run


def main(arguments: list[str]) -> int:
    """Measure a checkpoint and print it beside what the run recorded.

    Args:
        arguments: behind the verb.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit evaluate",
        description="Measure a run's weights again, from its checkpoint and its data, beside what the run recorded.",
        epilog="example: python -m expkit evaluate last --split test",
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, or `last`")
    parser.add_argument(
        "--split",
        action="append",
        choices=SPLITS,
        help="what to measure on; several by repetition (default: valid and test)",
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights (default: best)")
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    parser.add_argument("--json", action="store_true", help="one JSON object a split, for programs")
    options = parser.parse_args(arguments)
    folder = find_run(options.run, Path(options.runs_dir), having="checkpoints")
    found = evaluate(folder, options.split or ["valid", "test"], options.checkpoint)
    if options.json:
        for one in found:
            sys.stdout.write(json.dumps(asdict(one)) + "\n")
    else:
        _show(folder, options.checkpoint, found)
    return 0


def _show(folder: Path, which: str, found: Sequence[Evaluation]) -> None:
    console = Console(highlight=False)
    names = list(found[0].metrics)
    console.print(f"{quote_path(folder)}: the {which} checkpoint, epoch {found[0].epoch}", soft_wrap=True)
    table = Table()
    table.add_column("split")
    table.add_column("samples", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("the run recorded")
    for one in found:
        cells = [f"{one.metrics[name]:.6f}" for name in names]
        table.add_row(one.split, f"{one.samples:,}", *cells, _verdict(one))
    console.print(table)


def _verdict(one: Evaluation) -> str:
    largest = one.largest_difference
    if largest is None:
        return "nothing to compare with"
    return "the same" if largest == 0 else f"others; they differ by up to {largest:.2g}"
