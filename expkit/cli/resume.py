"""`python -m expkit resume RUN`: goes on with an interrupted run."""

from __future__ import annotations

import argparse
from pathlib import Path

from expkit import experiment
from expkit.runs import find_run


def main(arguments: list[str]) -> int:
    """Go on with a run from its last checkpoint.

    Args:
        arguments: behind the verb.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit resume",
        description="Go on with an interrupted or paused run from its last checkpoint, in its folder and MLflow run.",
        epilog="example: python -m expkit resume last trainer.epochs=10",
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, or `last`")
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="what may be done otherwise: trainer.epochs, trainer.stop_after, device.*, tracking.*, export.*, plots.*",
    )
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    options = parser.parse_args(arguments)
    experiment.resume(find_run(options.run, Path(options.runs_dir), having="checkpoints"), options.changes)
    return 0
