"""`python -m expkit reproduce RUN`: does a run again and says whether the same comes out."""

from __future__ import annotations

import argparse
from pathlib import Path

from expkit.reproduction.conduct import reproduce

_DESCRIPTION = """\
Do a run again from its record - config, seed, data fingerprint - as a new run, and compare every metric: the loss and
learning rate of each step, the metrics of each epoch, the final ones. It says `identical`, or the first step where the
two part, with both values and what may be why. The record is the run's folder, or what MLflow holds of the run when
its folder is gone. Other data than the run's is refused. Nothing is ever installed.
"""
_EPILOG = """\
exit code: 0 identical, 1 differs, 2 a mistake or other data

examples:
  python -m expkit reproduce last
  python -m expkit reproduce last --steps 20
  python -m expkit reproduce 20261123-120000-ab12cd --code recorded
  python -m expkit reproduce 1f0c9d... tracking.uri=http://mlflow.lab:5000
"""


def main(arguments: list[str]) -> int:
    """Do a run again and compare.

    Args:
        arguments: behind the verb.

    Returns:
        0 where it is identical, 1 where it differs.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit reproduce",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, or `last`")
    parser.add_argument(
        "changes",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="what may be otherwise: dataset.root, device.*, tracking.*, export.*, plots.*, trainer.progress; "
        "with tracking.uri, the run is looked for in that store",
    )
    parser.add_argument(
        "--code",
        choices=("today", "recorded"),
        default="today",
        help="run the code that is here and say how it differs (default), or that of then: its commit with its "
        "changes, in a git worktree of its own",
    )
    parser.add_argument("--steps", type=step_count, metavar="N", help="compare only the first N steps, then pause")
    parser.add_argument("--runs-dir", default="runs", help="where runs are, and where the new one goes (default: runs)")
    if not arguments:
        parser.error("which run? Name a run folder, a run id, an MLflow run id, or `last`")
    options = parser.parse_intermixed_args(arguments)
    return reproduce(
        options.run, runs_dir=Path(options.runs_dir), changes=options.changes, code=options.code, steps=options.steps
    )


def step_count(text: str) -> int:
    """Read a number of steps, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of steps; it must be at least 1")
    return number
