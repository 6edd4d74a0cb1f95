"""`python -m expkit resume RUN`: goes on with an interrupted run."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from expkit import experiment
from expkit.errors import ConfigError
from expkit.past import CHANGEABLE
from expkit.runs import find_run
from expkit.sweeping.ledger import LEDGER

_MORE = """\
what may be done otherwise:
{changeable}
Anything else would make it another run and is refused, naming what it was and what it would be; so is other data than
the run's, a run that another process is training, and a checkpoint that is damaged, for which the newest sound one is
named.

exit codes: 0 done or paused; 75 stopped by a signal, all is saved (`resume` goes on); 128 + signal stopped at once, and
what came after the last checkpoint is lost; 2 refused, or the disk is full; 1 failed.

examples:
  python -m expkit resume last
  python -m expkit resume last trainer.epochs=10
  python -m expkit resume last --checkpoint epoch-0002-step-00001564
"""


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
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_MORE.format(changeable="\n".join(_changeable())),
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, or `last`")
    parser.add_argument(
        "changes",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="what may be done otherwise; see below",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="go on from an earlier one of RUN/checkpoints; what came after is done again",
    )
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    options = parser.parse_intermixed_args(arguments)
    if (Path(options.run) / LEDGER).is_file():
        raise ConfigError(f"{options.run} is a sweep. Go on with it: python -m expkit resume-sweep {options.run}")
    run = find_run(options.run, Path(options.runs_dir), having="config.yaml")
    experiment.resume(run, options.changes, checkpoint=options.checkpoint)
    return 0


def _changeable() -> list[str]:
    names = [f"{name}*" if name.endswith(".") else name for name in CHANGEABLE]
    return textwrap.wrap(", ".join(names), 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
